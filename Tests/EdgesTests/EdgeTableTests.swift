import Addressing
import Edges
import Linux
import Netlink
import Settings
import Testing

/// What events and answers make of the node's edges, in whatever order they come.
@Suite("The edge table")
struct EdgeTableTests {
    private static let networks = [IPNetwork("10.244.0.0/16")].compactMap { $0 }
    private static let inside = [IPAddress("10.244.1.2")].compactMap { $0 }

    private static func veth(
        _ index: UInt32, name: String = "v", namespace: Int32? = 1, peer: UInt32? = 2
    ) -> Link {
        var link = Link(index: index)
        link.name = name
        link.kind = "veth"
        link.peerIndex = peer
        link.peerNamespace = namespace
        link.isUp = true
        return link
    }

    private static func node(_ table: EdgeTable) -> Node {
        table.node(EdgeSelection(podNetworks: networks))
    }

    @Test("has an edge from the event that says so to the one that says it is gone")
    func incarnation() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7, namespace: nil, peer: 0)))
        #expect(Self.node(table).veths.map(\.status) == [.peerIsGone])
        table.apply(.link(Self.veth(7)))
        #expect(table.takePendingRefreshes() == [7])
        let incarnation = Self.node(table).capturedVeths.map(\.incarnation)
        #expect(incarnation.count == 1)
        // Events that come twice change nothing.
        table.apply(.link(Self.veth(7)))
        table.apply(.link(Self.veth(7, name: "renamed")))
        #expect(Self.node(table).capturedVeths.map(\.incarnation) == incarnation)
        #expect(Self.node(table).capturedVeths.map(\.link.name) == ["renamed"])
        table.apply(.linkGone(7))
        table.apply(.linkGone(7))
        #expect(Self.node(table).capturedVeths.isEmpty && table.takePendingRefreshes().isEmpty)
    }

    @Test("takes a used index, name and namespace id for another edge")
    func reuse() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7)))
        let first = Self.node(table).capturedVeths.map(\.incarnation)
        table.apply(.linkGone(7))
        table.apply(.link(Self.veth(7)))
        #expect(Self.node(table).capturedVeths.map(\.incarnation) != first)
    }

    @Test("forgets what a pod has said when another one is behind the edge")
    func otherPod() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7)))
        table.set(EdgeTable.Pod(addresses: Self.inside, mac: MACAddress(value: 1)), behind: 7)
        #expect(Self.node(table).capturedVeths.map(\.podAddresses) == [Self.inside])
        table.apply(.link(Self.veth(7, namespace: 2)))
        #expect(Self.node(table).capturedVeths.map(\.podAddresses) == [nil])
        // An answer for an edge that has gone is nobody's.
        table.set(EdgeTable.Pod(addresses: [], mac: nil), behind: 8)
        #expect(Self.node(table).veths.count == 1)
    }

    @Test(
        "has the largest packet that either end of the veth pair may hand over",
        arguments: [
            (65_536, 65_536, nil, 65_536), (185_000, 65_536, nil, 185_000),
            (65_536, 185_000, 65_536, 185_000), (65_536, 65_536, 524_280, 524_280),
            (196_608, 65_536, 185_000, 196_608),
        ] as [(Int, Int, Int?, Int)])
    func largestPacket(gso: Int, gro: Int, pod: Int?, expected: Int) {
        var table = EdgeTable()
        var link = Self.veth(7)
        (link.gsoByteCountMax, link.groByteCountMax) = (gso, gro)
        table.apply(.link(link))
        table.set(
            EdgeTable.Pod(addresses: Self.inside, mac: nil, gsoByteCountMax: pod), behind: 7)
        #expect(Self.node(table).edges.map(\.frameByteCountMax) == [expected])
        // The kernel has no event for it, so the next listing tells.
        (link.gsoByteCountMax, link.groByteCountMax) = (65_536, 65_536)
        table.reset(links: [link])
        #expect(
            Self.node(table).edges.map(\.frameByteCountMax) == [max(65_536, pod ?? 0)])
    }

    @Test("asks about the pods of the namespaces that have changed, each once")
    func refreshes() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7, namespace: 1)))
        table.apply(.link(Self.veth(8, namespace: 2)))
        table.apply(.link(Self.veth(9, namespace: nil)))
        #expect(table.takePendingRefreshes() == [7, 8])
        #expect(table.takePendingRefreshes().isEmpty)
        table.requestRefresh(inside: [2, 3])
        table.requestRefresh(inside: [2])
        #expect(table.takePendingRefreshes() == [8])
        table.requestRefresh(inside: nil)
        #expect(table.takePendingRefreshes() == [7, 8] && table.queryableIndexes == [7, 8])
    }

    @Test("says why addresses are missing, until a pod's are known")
    func denied() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7)))
        let error = SystemError("netlink", .notPermitted)
        table.apply(NodeReply.denied(error))
        #expect(Self.node(table).addressFailure == error)
        #expect(Self.node(table).edgeCountWithoutAddresses == 1)
        // A pod that has just gone says nothing about the others.
        table.apply(NodeReply.pod(behind: 7, nil))
        #expect(Self.node(table).addressFailure == error)
        table.apply(NodeReply.pod(behind: 7, EdgeTable.Pod(addresses: Self.inside, mac: nil)))
        #expect(Self.node(table).addressFailure == nil)
        #expect(Self.node(table).edgeCountWithoutAddresses == 0)
    }

    @Test("is what a new listing shows after events were lost")
    func reset() {
        var table = EdgeTable()
        for index in 1...4 as ClosedRange<UInt32> { table.apply(.link(Self.veth(index))) }
        let incarnations = Dictionary(
            uniqueKeysWithValues: Self.node(table).capturedVeths.map {
                ($0.link.index, $0.incarnation)
            })
        table.reset(links: [Self.veth(2), Self.veth(4), Self.veth(9)])
        let edges = Self.node(table).capturedVeths
        #expect(edges.map(\.link.index) == [2, 4, 9])
        #expect(edges.prefix(2).map(\.incarnation) == [incarnations[2], incarnations[4]])
    }

    struct Selection: Sendable {
        let selection: EdgeSelection
        let addresses: [String]?
        let status: Veth.EdgeStatus
    }

    static let selections: [Selection] = [
        Selection(
            selection: EdgeSelection(podNetworks: networks), addresses: ["10.244.1.2"],
            status: .captured),
        Selection(
            selection: EdgeSelection(podNetworks: networks), addresses: nil, status: .captured),
        Selection(
            selection: EdgeSelection(podNetworks: networks), addresses: ["fe80::1"],
            status: .captured),
        Selection(
            selection: EdgeSelection(podNetworks: networks), addresses: ["172.20.0.2"],
            status: .outsidePodNetworks),
        Selection(
            selection: EdgeSelection(podNetworks: networks),
            addresses: ["172.20.0.2", "10.244.9.9"], status: .captured),
        Selection(
            selection: EdgeSelection(.all, podNetworks: networks), addresses: ["172.20.0.2"],
            status: .captured),
        Selection(
            selection: EdgeSelection(podNetworks: networks, included: ["v*"]),
            addresses: ["172.20.0.2"], status: .captured),
        Selection(
            selection: EdgeSelection(.all, included: ["v*"], excluded: ["veth7"]),
            addresses: ["10.244.1.2"], status: .excluded),
    ]

    @Test("captures the edges that a person has chosen", arguments: selections)
    func selection(_ test: Selection) {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7, name: "veth7")))
        if let addresses = test.addresses {
            table.set(
                EdgeTable.Pod(addresses: addresses.compactMap { IPAddress($0) }, mac: nil),
                behind: 7)
        }
        #expect(table.node(test.selection).veths.map(\.status) == [test.status])
    }

    @Test(
        "reads patterns as a shell does",
        arguments: [
            ("veth7", "veth7", true), ("veth7", "veth", false), ("veth7", "*", true),
            ("veth7", "v*7", true), ("veth7", "v*8", false), ("veth7", "veth?", true),
            ("veth", "veth?", false), ("", "*", true), ("", "?", false), ("aXbXc", "a*b*c", true),
            ("aXbXd", "a*b*c", false), ("mississippi", "m*iss*ip*i", true),
        ])
    func pattern(name: String, pattern: String, matches: Bool) {
        #expect(EdgeSelection.matches(name, pattern) == matches)
    }
}
