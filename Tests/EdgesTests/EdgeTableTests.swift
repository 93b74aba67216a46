import Edges
import Settings
import Addressing
import Linux
import Netlink
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
        #expect(Self.node(table).candidates.map(\.standing) == [.peerIsGone])
        table.apply(.link(Self.veth(7)))
        #expect(table.takeUnasked() == [7])
        let incarnation = Self.node(table).edges.map(\.incarnation)
        #expect(incarnation.count == 1)
        // Events that come twice change nothing.
        table.apply(.link(Self.veth(7)))
        table.apply(.link(Self.veth(7, name: "renamed")))
        #expect(Self.node(table).edges.map(\.incarnation) == incarnation)
        #expect(Self.node(table).edges.map(\.link.name) == ["renamed"])
        table.apply(.linkGone(7))
        table.apply(.linkGone(7))
        #expect(Self.node(table).edges.isEmpty && table.takeUnasked().isEmpty)
    }

    @Test("takes a used index, name and namespace id for another edge")
    func reuse() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7)))
        let first = Self.node(table).edges.map(\.incarnation)
        table.apply(.linkGone(7))
        table.apply(.link(Self.veth(7)))
        #expect(Self.node(table).edges.map(\.incarnation) != first)
    }

    @Test("forgets what a pod has said when another one is behind the edge")
    func otherPod() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7)))
        table.set(EdgeTable.Pod(addresses: Self.inside, mac: MACAddress(value: 1)), behind: 7)
        #expect(Self.node(table).edges.map(\.podAddresses) == [Self.inside])
        table.apply(.link(Self.veth(7, namespace: 2)))
        #expect(Self.node(table).edges.map(\.podAddresses) == [nil])
        // An answer for an edge that has gone is nobody's.
        table.set(EdgeTable.Pod(addresses: [], mac: nil), behind: 8)
        #expect(Self.node(table).candidates.count == 1)
    }

    @Test("is what a new look shows after events were lost")
    func reset() {
        var table = EdgeTable()
        for index in 1...4 as ClosedRange<UInt32> { table.apply(.link(Self.veth(index))) }
        let incarnations = Dictionary(
            uniqueKeysWithValues: Self.node(table).edges.map { ($0.link.index, $0.incarnation) })
        table.reset(links: [Self.veth(2), Self.veth(4), Self.veth(9)])
        let edges = Self.node(table).edges
        #expect(edges.map(\.link.index) == [2, 4, 9])
        #expect(edges.prefix(2).map(\.incarnation) == [incarnations[2], incarnations[4]])
    }

    @Test("leaves uplinks out, whatever they are made of")
    func uplink() {
        var table = EdgeTable()
        table.apply(.link(Self.veth(7)))
        let route = Route(
            destination: IPNetwork(IPAddress(ipv4: 0), prefixBitCount: 0), gateway: nil,
            interfaceIndex: 7)
        table.reset(addresses: [], routes: [route])
        #expect(Self.node(table).candidates.map(\.standing) == [.uplink])
    }

    struct Selection: Sendable {
        let selection: EdgeSelection
        let addresses: [String]?
        let standing: Veth.EdgeStatus
    }

    static let selections: [Selection] = [
        Selection(
            selection: EdgeSelection(podNetworks: networks), addresses: ["10.244.1.2"],
            standing: .edge),
        Selection(selection: EdgeSelection(podNetworks: networks), addresses: nil, standing: .edge),
        Selection(
            selection: EdgeSelection(podNetworks: networks), addresses: ["fe80::1"],
            standing: .edge),
        Selection(
            selection: EdgeSelection(podNetworks: networks), addresses: ["172.20.0.2"],
            standing: .outsidePodNetworks),
        Selection(
            selection: EdgeSelection(podNetworks: networks),
            addresses: ["172.20.0.2", "10.244.9.9"], standing: .edge),
        Selection(
            selection: EdgeSelection(.all, podNetworks: networks), addresses: ["172.20.0.2"],
            standing: .edge),
        Selection(
            selection: EdgeSelection(podNetworks: networks, included: ["v*"]),
            addresses: ["172.20.0.2"], standing: .edge),
        Selection(
            selection: EdgeSelection(.all, included: ["v*"], excluded: ["veth7"]),
            addresses: ["10.244.1.2"], standing: .excluded),
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
        #expect(table.node(test.selection).candidates.map(\.standing) == [test.standing])
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
