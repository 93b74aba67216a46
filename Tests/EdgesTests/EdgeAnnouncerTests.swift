import Addressing
import Edges
import Netlink
import Settings
import Testing
import Time

/// What the log hears of an edge, and when.
@Suite("The announcer of edges")
struct EdgeAnnouncerTests {
    private static let start = MonotonicTime(nanoseconds: 1 << 40)

    private static func node(_ table: EdgeTable, excluding: [String] = []) -> Node {
        table.node(EdgeSelection(excluded: excluding))
    }

    private static func link(peer: UInt32? = 2) -> Link {
        var link = Link(index: 7)
        (link.name, link.kind, link.isUp) = ("veth7", "veth", true)
        (link.peerIndex, link.peerNamespace) = (peer, peer == 0 ? nil : 1)
        return link
    }

    private static func addPod(to table: inout EdgeTable) throws {
        let address = try #require(IPAddress("10.244.1.2"))
        table.set(EdgeTable.Pod(addresses: [address], mac: nil), behind: 7)
    }

    private static func setName(in table: inout EdgeTable) throws {
        let incarnation = try #require(node(table).veths.first).incarnation
        table.set([incarnation: try #require(PodName(namespace: "shop", name: "web-1"))])
    }

    private static func messages(_ changes: [EdgeAnnouncer.Change]) -> [String] {
        changes.map(\.message)
    }

    @Test("says nothing of edges that were there at the start until they go")
    func old() {
        var table = EdgeTable()
        table.apply(.link(Self.link()))
        var announcer = EdgeAnnouncer(Self.node(table))
        let none = announcer.takeChanges(to: Self.node(table), hasNames: true, now: Self.start)
        #expect(none.isEmpty)
        table.apply(.linkGone(7))
        let changes = announcer.takeChanges(to: Self.node(table), hasNames: true, now: Self.start)
        #expect(Self.messages(changes) == ["edge gone"])
    }

    @Test("waits for the pod's addresses and name", arguments: [true, false])
    func complete(hasNames: Bool) throws {
        var table = EdgeTable()
        var announcer = EdgeAnnouncer(Self.node(table))
        table.apply(.link(Self.link()))
        let none = announcer.takeChanges(
            to: Self.node(table), hasNames: hasNames, now: Self.start)
        #expect(none.isEmpty)
        try Self.addPod(to: &table)
        let first = announcer.takeChanges(
            to: Self.node(table), hasNames: hasNames, now: Self.start)
        #expect(Self.messages(first) == (hasNames ? [] : ["edge captured"]))
        try Self.setName(in: &table)
        let second = announcer.takeChanges(
            to: Self.node(table), hasNames: hasNames, now: Self.start)
        #expect(Self.messages(second) == (hasNames ? ["edge captured"] : ["edge has a name"]))
        #expect(second.first?.veth.pod?.name == "web-1")
        let third = announcer.takeChanges(
            to: Self.node(table), hasNames: hasNames, now: .distantFuture)
        #expect(third.isEmpty)
    }

    @Test("waits for a second, and not for longer")
    func late() throws {
        var table = EdgeTable()
        var announcer = EdgeAnnouncer(Self.node(table))
        table.apply(.link(Self.link()))
        let steps: [(Duration, [String])] = [
            (.zero, []), (.milliseconds(999), []), (.seconds(1), ["edge captured"]),
            (.seconds(2), []),
        ]
        for (delay, messages) in steps {
            let changes = announcer.takeChanges(
                to: Self.node(table), hasNames: true, now: Self.start + delay)
            #expect(Self.messages(changes) == messages)
        }
        try Self.addPod(to: &table)
        try Self.setName(in: &table)
        let changes = announcer.takeChanges(
            to: Self.node(table), hasNames: true, now: Self.start + .seconds(3))
        #expect(Self.messages(changes) == ["edge has a name"])
    }

    @Test("has both lines for an edge that goes before it was logged")
    func short() {
        var table = EdgeTable()
        var announcer = EdgeAnnouncer(Self.node(table))
        table.apply(.link(Self.link()))
        _ = announcer.takeChanges(to: Self.node(table), hasNames: true, now: Self.start)
        table.apply(.link(Self.link(peer: 0)))
        let changes = announcer.takeChanges(to: Self.node(table), hasNames: true, now: Self.start)
        #expect(Self.messages(changes) == ["edge captured", "edge gone"])
    }

    @Test("has no line for a veth that turns out not to be captured")
    func excluded() {
        var table = EdgeTable()
        var announcer = EdgeAnnouncer(Self.node(table))
        table.apply(.link(Self.link()))
        _ = announcer.takeChanges(to: Self.node(table), hasNames: true, now: Self.start)
        let node = Self.node(table, excluding: ["veth7"])
        let changes = announcer.takeChanges(to: node, hasNames: true, now: .distantFuture)
        #expect(changes.isEmpty)
    }

    @Test("says that an edge is no longer captured although it is still there")
    func notCapturedAnyMore() {
        var table = EdgeTable()
        table.apply(.link(Self.link()))
        var announcer = EdgeAnnouncer(Self.node(table))
        let node = Self.node(table, excluding: ["veth7"])
        let changes = announcer.takeChanges(to: node, hasNames: true, now: Self.start)
        #expect(Self.messages(changes) == ["edge no longer captured"])
    }
}
