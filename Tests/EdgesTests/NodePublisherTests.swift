import Addressing
import Edges
import Linux
import Netlink
import Observation
import ObservationFixtures
import Settings
import Testing

/// What captures and the rule are told of a node.
@Suite("The node publisher")
struct NodePublisherTests {
    private static let settings = RuleSettings(podNetworks: [network("10.244.0.0/16")])

    /// Two pods on a bridge, and one routed.
    private static func node() -> Node {
        var table = EdgeTable()
        var bridge = Link(index: 3)
        (bridge.name, bridge.kind, bridge.mac) = ("br0", "bridge", Site.bridgeMAC)
        table.apply(.link(bridge))
        for index in 7...9 as ClosedRange<UInt32> {
            var link = Link(index: index)
            (link.name, link.kind, link.isUp) = ("v\(index)", "veth", true)
            (link.peerIndex, link.peerNamespace) = (2, Int32(index))
            link.master = index < 9 ? 3 : nil
            // A bridge has the lowest address of its ports.
            link.mac = index == 7 ? Site.bridgeMAC : mac("02:00:00:00:00:0\(index)")
            table.apply(.link(link))
            let pod = EdgeTable.Pod(addresses: [address("10.244.1.\(index)")], mac: nil)
            table.set(pod, behind: index)
        }
        return table.node(EdgeSelection())
    }

    @Test("has a domain for the ports of a bridge, and one for each routed veth")
    func domains() {
        let edges = Self.node().edges
        #expect(edges.map(\.name) == ["v7", "v8", "v9"])
        #expect(edges[0].point.domain == edges[1].point.domain)
        #expect(edges[1].point.domain != edges[2].point.domain)
        // A frame from the address that the bridge shares with a port tells nothing.
        #expect(
            edges.map(\.point.deviceMAC) == [
                nil, mac("02:00:00:00:00:08"), mac("02:00:00:00:00:09"),
            ])
    }

    /// Two pods on a bridge with one more port, which may be an uplink.
    private static func node(port kind: String, _ name: String, peer: Bool = true) -> Node {
        var table = EdgeTable()
        var bridge = Link(index: 3)
        (bridge.name, bridge.kind) = ("br0", "bridge")
        var port = Link(index: 4)
        (port.name, port.kind, port.master, port.peerNamespace) = (name, kind, 3, 4)
        port.peerIndex = peer ? 2 : 0
        for link in [bridge, port] { table.apply(.link(link)) }
        for index in 7...8 as ClosedRange<UInt32> {
            var link = Link(index: index)
            (link.name, link.kind, link.master) = ("v\(index)", "veth", 3)
            (link.peerIndex, link.peerNamespace) = (2, Int32(index))
            table.apply(.link(link))
        }
        return table.node(EdgeSelection(excluded: ["up*"]))
    }

    @Test(
        "knows the ports of a bridge through which other nodes' pods send",
        arguments: [
            ("", "eth1", true, true, true), ("vxlan", "flat0", true, true, true),
            ("veth", "up1", true, true, false), ("veth", "v4", true, false, false),
            ("veth", "v4", false, false, false), ("tun", "vm0", true, false, false),
        ])
    func otherPorts(
        kind: String, name: String, hasPeer: Bool, isOne: Bool, isCertain: Bool
    ) {
        let node = Self.node(port: kind, name, peer: hasPeer)
        #expect(node.portsOfOthers().map(\.port.name) == (isOne ? [name] : []))
        let certain = node.portsOfOthers(isExcludedOne: false).map(\.port.name)
        #expect(certain == (isCertain ? [name] : []))
        for edge in node.edges { #expect(edge.point.hasOtherPorts == isOne) }
    }

    @Test("limits a capture of one edge to that edge, without de-duplication")
    func scope() {
        let publisher = NodePublisher(Self.settings, node: Self.node())
        let snapshot = publisher.snapshot
        #expect(snapshot.limited(to: .stream).edges == snapshot.edges)
        let edge = snapshot.edges[1]
        let limited = snapshot.limited(to: .edge(incarnation: edge.incarnation))
        #expect(limited.edges == [edge] && !limited.rule.deduplicates && snapshot.rule.deduplicates)
    }

    @Test("counts the sessions of a client, and notifies captures of the first and the last")
    func clients() throws {
        let publisher = NodePublisher(Self.settings, node: Self.node())
        let event = try Event()
        publisher.subscribe(event.fileDescriptor)
        let client = address("192.0.2.7")
        let steps: [(add: Bool, isKnown: Bool, isNotified: Bool)] = [
            (true, true, true), (true, true, false), (false, true, false), (false, false, true),
            (false, false, false),
        ]
        for step in steps {
            if step.add { publisher.addClient(client) } else { publisher.removeClient(client) }
            let sensors = publisher.snapshot.rule.addressPlan.sensors
            #expect(sensors.contains(client) == step.isKnown)
            #expect(try isRaised(event) == step.isNotified)
            event.lower()
        }
        publisher.unsubscribe(event.fileDescriptor)
        publisher.addClient(client)
        #expect(try !isRaised(event))
    }

    private func isRaised(_ event: borrowing Event) throws -> Bool {
        try !poll([(event.fileDescriptor, .readable)], milliseconds: 0)[0].isEmpty
    }

    @Test("keeps a sensor's old addresses, but not without end")
    func sensors() throws {
        let publisher = NodePublisher(Self.settings, node: Self.node())
        let sensor = try #require(SensorName("sensor", standardPort: 2003))
        for number in 1...16 { publisher.add([address("192.0.2.\(number)")], of: sensor) }
        #expect(publisher.snapshot.rule.addressPlan.sensors.count == 16)
        publisher.add([address("192.0.2.17")], of: sensor)
        #expect(publisher.snapshot.rule.addressPlan.sensors == [address("192.0.2.17")])
    }
}
