import Addressing
import Edges
import Netlink
import Observation
import Settings
import Testing
import Time

/// What lives behind an edge: MAC addresses, addresses on other interfaces, networks.
@Suite("What lives behind an edge")
struct BehindEdgesTests {
    private static let selection = EdgeSelection(
        podNetworks: [IPNetwork("10.244.0.0/16")].compactMap { $0 })
    private static let settings = RuleSettings(podNetworks: selection.podNetworks)
    private static let bridge: UInt32 = 3, uplink: UInt32 = 4

    private static func link(
        _ index: UInt32, _ kind: String = "veth", master: UInt32? = bridge
    ) -> Link {
        var link = Link(index: index)
        (link.name, link.kind, link.master) = ("l\(index)", kind, master)
        link.isUp = true
        link.mac = MACAddress(value: 0x0200_0000_0000 + UInt64(index))
        if kind == "veth" { (link.peerIndex, link.peerNamespace) = (2, Int32(index)) }
        return link
    }

    private static func address(_ text: String) -> IPAddress {
        IPAddress(text) ?? IPAddress(ipv4: 0)
    }

    private static func mac(_ number: UInt64) -> MACAddress { MACAddress(value: number) }

    /// Pods 7 and 8 on a bridge that has an uplink as a port, and 9 on a veth of its own.
    private static func table() -> EdgeTable {
        var table = EdgeTable()
        for link in [
            link(bridge, "bridge", master: nil), link(uplink, "dummy"), link(7), link(8),
            link(9, master: nil),
        ] {
            table.apply(.link(link))
        }
        for (index, number) in [(7, 2), (8, 3), (9, 4)] as [(UInt32, Int)] {
            table.set(
                EdgeTable.Pod(
                    addresses: [address("10.244.1.\(number)")], mac: mac(UInt64(number))),
                behind: index)
        }
        return table
    }

    private static func entry(
        _ number: UInt64, port: UInt32, isLocal: Bool = false
    ) -> ForwardingEntry {
        ForwardingEntry(mac: mac(number), bridge: bridge, port: port, isLocal: isLocal)
    }

    private static func place(_ number: UInt64, _ table: EdgeTable) -> MACTable.Place? {
        table.node(selection).macs.place(of: mac(number), on: bridge)
    }

    @Test("is what the bridge has learned there, until it appears elsewhere or the port goes")
    func learned() {
        var table = Self.table()
        table.apply(.learned(Self.entry(0x21, port: 7)))
        #expect(Self.place(0x21, table) == .edge(7))
        // The bridge forgets what is silent. It still lives there.
        table.apply(.forgotten(Self.entry(0x21, port: 7)))
        #expect(Self.place(0x21, table) == .edge(7))
        table.apply(.learned(Self.entry(0x21, port: 8)))
        #expect(Self.place(0x21, table) == .edge(8))
        // An event about the old port is late.
        table.apply(.forgotten(Self.entry(0x21, port: 7)))
        #expect(Self.place(0x21, table) == .edge(8))
        table.apply(.learned(Self.entry(0x21, port: Self.uplink)))
        #expect(Self.place(0x21, table) == .elsewhere)
        table.apply(.learned(Self.entry(0x22, port: 7)))
        table.apply(.link(Self.link(7, master: nil)))
        #expect(Self.place(0x22, table) == nil)
        table.apply(.learned(Self.entry(0x23, port: 8)))
        table.apply(.linkGone(8))
        #expect(Self.place(0x23, table) == nil)
    }

    @Test("has first what bridges know, then what pods have, then what bridges have forgotten")
    func precedence() {
        var table = Self.table()
        table.set(
            EdgeTable.Pod(
                addresses: [], mac: Self.mac(2), otherMACs: [Self.mac(0x31), Self.mac(0x32)]),
            behind: 7)
        #expect(Self.place(2, table) == .edge(7) && Self.place(0x31, table) == .edge(7))
        // A virtual router's address moves between pods that both have it.
        table.apply(.learned(Self.entry(0x31, port: 8)))
        #expect(Self.place(0x31, table) == .edge(8))
        table.apply(.forgotten(Self.entry(0x31, port: 8)))
        #expect(Self.place(0x31, table) == .edge(7))
        // A pod that sends from another one's address gets its frames, until that one sends.
        table.apply(.learned(Self.entry(2, port: 8)))
        #expect(Self.place(2, table) == .edge(8))
        let taken = table.node(Self.selection)
        #expect(taken.takenMACs.map(\.mac) == [Self.mac(2)])
        #expect(taken.takenMACs.map { [$0.owner, $0.taker] } == [[7, 8]])
        let taker = taken.edges.first { $0.point.interfaceIndex == 8 }?.point
        #expect(taker?.has(Self.mac(2)) == true)
        table.apply(.learned(Self.entry(2, port: 7)))
        #expect(Self.place(2, table) == .edge(7))
        #expect(table.node(Self.selection).takenMACs.isEmpty)
        // The node's own addresses are no pod's.
        table.apply(.learned(Self.entry(0x0200_0000_0007, port: 7, isLocal: true)))
        #expect(Self.place(0x0200_0000_0007, table) == .elsewhere)
        #expect(Self.place(0x0200_0000_0003, table) == .elsewhere)
        let macs = table.node(Self.selection).veths.first { $0.link.index == 7 }?.macs
        #expect(macs == [Self.mac(2), Self.mac(0x31), Self.mac(0x32)])
    }

    @Test("is kept within bounds, and frames to more of it count as the edge's")
    func bounds() {
        var table = Self.table()
        for number in 0..<20_000 as Range<UInt64> {
            table.apply(.learned(Self.entry(0x10_0000 + number, port: 7)))
        }
        let node = table.node(Self.selection)
        #expect(node.macs.count < 600 && table.notKeptMACCount > 19_000)
        for edge in node.edges { #expect(edge.point.otherMACs.count <= 16) }
        // Other ports have room.
        table.apply(.learned(Self.entry(0x41, port: 8)))
        #expect(Self.place(0x41, table) == .edge(8))
    }

    @Test("makes room where most is known, and a port is not crowded for ever")
    func room() {
        var table = Self.table()
        let isCrowded = { (port: UInt32, table: EdgeTable) in
            table.node(Self.selection).macs.isCrowded(port)
        }
        // Others fill the table, then a pod has its first guest.
        let ports = UInt32(100)..<132
        for port in ports {
            table.apply(.link(Self.link(port)))
            for number in 0..<600 as Range<UInt64> {
                let mac = UInt64(port) << 16 | number
                table.apply(.learned(Self.entry(mac, port: port)))
            }
        }
        table.apply(.learned(Self.entry(0x61, port: 8)))
        #expect(Self.place(0x61, table) == .edge(8) && !isCrowded(8, table))
        #expect(ports.allSatisfy { isCrowded($0, table) })
        // The bridge forgets what is silent.
        for port in ports {
            for number in 0..<600 as Range<UInt64> {
                let mac = UInt64(port) << 16 | number
                table.apply(.forgotten(Self.entry(mac, port: port)))
            }
        }
        #expect(!ports.contains { isCrowded($0, table) })
        table.apply(.learned(Self.entry(0x62, port: 100)))
        #expect(Self.place(0x62, table) == .edge(100) && !isCrowded(100, table))
    }

    @Test("is listed anew after events were lost")
    func reset() {
        var table = Self.table()
        table.apply(.learned(Self.entry(0x51, port: 7)))
        let changeCount = table.forwardingChangeCount
        // What an event has said since is newer.
        table.apply(.learned(Self.entry(0x53, port: 7)))
        let listed = [0x51, 0x52, 0x53].map { Self.entry($0, port: 8) }
        table.apply(BridgeListing([7: [], 8: listed], changeCount: changeCount))
        #expect(Self.place(0x51, table) == .edge(8) && Self.place(0x52, table) == .edge(8))
        #expect(Self.place(0x53, table) == .edge(7))
    }

    @Test("is listed of the bridges of pods, and less often the longer a listing takes")
    func listings() {
        #expect(Self.table().bridgePorts == [Self.bridge, Self.uplink, 7, 8])
        var schedule = BridgeListingSchedule()
        let begin = MonotonicTime.zero + .seconds(100)
        var started: [Bool] = [schedule.takeDue(now: begin)]
        schedule.request()
        started.append(schedule.takeDue(now: begin))
        // One runs, and pods make more events than can be read.
        schedule.request()
        started.append(schedule.takeDue(now: begin + .seconds(9)))
        #expect(schedule.dueAt == .distantFuture)
        schedule.finish(BridgeListing([:], changeCount: 0), now: begin)
        #expect(schedule.dueAt == begin + BridgeListingSchedule.pauseMin)
        started.append(schedule.takeDue(now: begin))
        started.append(schedule.takeDue(now: begin + BridgeListingSchedule.pauseMin))
        #expect(started == [false, true, false, false, true])
    }

    @Test("makes no domain of a VRF, nor of a veth without a bridge")
    func points() {
        var table = Self.table()
        table.apply(.link(Self.link(5, "vrf", master: nil)))
        table.apply(.link(Self.link(8, master: 5)))
        let edges = table.node(Self.selection).edges
        #expect(edges.map(\.point.interfaceIndex) == [7, 8, 9])
        #expect(edges.map(\.point.bridge) == [Self.bridge, nil, nil])
        #expect(edges.first?.point.bridgeMAC == Self.link(Self.bridge).mac)
    }

    private static func route(_ network: String, via gateway: String?, _ metric: UInt32 = 0)
        -> Route
    {
        Route(
            destination: IPNetwork(network) ?? IPNetwork(address("::"), prefixBitCount: 0),
            gateway: gateway.map(address), interfaceIndex: gateway == nil ? 9 : nil,
            metric: metric)
    }

    @Test("no node: a pod that routes lead through, whatever they lead to")
    func nodes() {
        var table = Self.table()
        table.reset(
            addresses: [],
            routes: [
                Self.route("10.244.77.0/24", via: "10.244.1.2"),
                Self.route("10.244.2.0/24", via: "192.168.100.2"),
            ])
        let plan = table.node(Self.selection).addressPlan(Self.settings)
        #expect(plan.nodeAddresses == [Self.address("192.168.100.2")])
        #expect(plan.isPod(Self.address("10.244.1.2")))
    }

    @Test("networks that the node's best routes lead to through a pod")
    func networks() {
        var table = Self.table()
        table.reset(
            addresses: [],
            routes: [
                Self.route("10.8.0.0/24", via: "10.244.1.2", 5000),
                Self.route("10.9.0.0/24", via: nil),
                Self.route("10.244.1.4/32", via: nil),
                Self.route("0.0.0.0/0", via: "10.244.1.2", 5000),
                // Two ways, a better one, and one for a part of it.
                Self.route("10.10.0.0/24", via: "10.244.1.2"),
                Self.route("10.10.0.0/24", via: "192.168.100.9"),
                Self.route("10.11.0.0/24", via: "10.244.1.2", 100),
                Self.route("10.11.0.0/24", via: "192.168.100.9", 50),
                Self.route("10.12.0.0/16", via: "10.244.1.2"),
                Self.route("10.12.5.0/24", via: "192.168.100.9"),
                // In a pod network anyway.
                Self.route("10.244.77.0/24", via: "10.244.1.3"),
            ])
        let node = table.node(Self.selection)
        let found = node.networksBehindPods.map { "\($0.network) \($0.veth.link.name)" }
        #expect(found == ["10.8.0.0/24 l7", "10.9.0.0/24 l9", "10.244.77.0/24 l8"])
        let plan = node.addressPlan(Self.settings)
        #expect(plan.localPodNetworks.map(\.description) == ["10.8.0.0/24", "10.9.0.0/24"])
        #expect(plan.isPod(Self.address("10.8.0.5")) && !plan.isPod(Self.address("10.12.0.5")))
    }

    @Test("default routes, which make no uplink of the pods' bridge")
    func defaultRoutes() throws {
        func route(_ gateway: String, _ interfaceIndex: UInt32, _ metric: UInt32) throws -> Route {
            let everything = try #require(IPNetwork("0.0.0.0/0"))
            return Route(
                destination: everything, gateway: Self.address(gateway),
                interfaceIndex: interfaceIndex, metric: metric)
        }
        var table = Self.table()
        let own = [
            InterfaceAddress(
                interfaceIndex: Self.bridge, address: Self.address("10.244.1.1"),
                prefixBitCount: 24),
            InterfaceAddress(
                interfaceIndex: Self.uplink, address: Self.address("192.168.100.1"),
                prefixBitCount: 24),
        ]
        let outside = try route("192.168.100.100", Self.uplink, 100)
        for (throughPod, name, isInUse) in try [
            (route("10.244.1.2", Self.bridge, 50), "l7", true),
            (route("10.244.1.2", Self.bridge, 5000), "l7", false),
            // A gateway behind a routed pod that has another address.
            (route("169.254.1.1", 9, 5000), "l9", false),
        ] {
            table.reset(addresses: own, routes: [outside, throughPod])
            let node = table.node(Self.selection)
            let found = node.defaultRoutesThroughPods
            #expect(found.map(\.veth.link.name) == [name])
            #expect(found.map(\.isInUse) == [isInUse])
            #expect(node.uplinkAddresses == [own[1]])
        }
    }

    @Test("addresses of a pod's loopback, but for those that are the node's as well")
    func otherAddresses() {
        var table = Self.table()
        let others = ["172.31.0.1", "172.17.0.1"].map(Self.address)
        table.set(
            EdgeTable.Pod(
                addresses: [Self.address("10.244.1.2")], mac: Self.mac(2), otherAddresses: others),
            behind: 7)
        table.reset(
            addresses: [
                InterfaceAddress(interfaceIndex: 20, address: others[1], prefixBitCount: 16)
            ], routes: [])
        let plan = table.node(Self.selection).addressPlan(Self.settings)
        #expect(plan.localPodAddresses.contains(others[0]))
        #expect(!plan.localPodAddresses.contains(others[1]))
    }

    @Test("no address to which the node's routes do not lead there")
    func claimedAddresses() {
        let other = Self.address("172.31.0.1")
        func route(_ gateway: String?, _ interfaceIndex: UInt32?) -> Route {
            Route(
                destination: IPNetwork(other, prefixBitCount: 32),
                gateway: gateway.map(Self.address), interfaceIndex: interfaceIndex)
        }
        let ways: [(edge: UInt32, route: Route?, isReached: Bool)] = [
            (9, route(nil, 9), true),
            (9, route("169.254.1.1", 9), true),
            (9, route("192.168.100.2", Self.uplink), false),
            (7, route(nil, Self.bridge), true),
            (7, route("10.244.1.2", Self.bridge), true),
            // Through another pod of the bridge.
            (7, route("10.244.1.3", Self.bridge), false),
            (7, route("192.168.100.2", Self.uplink), false),
            (7, route(nil, nil), false),
            (7, nil, false),
        ]
        for (edge, route, isReached) in ways {
            var table = Self.table()
            let own = Self.address(edge == 7 ? "10.244.1.2" : "10.244.1.4")
            var pod = EdgeTable.Pod(
                addresses: [own], mac: Self.mac(2), otherAddresses: [other])
            let link = Self.link(edge, master: edge == 7 ? Self.bridge : nil)
            pod.record(route, to: other, through: link)
            // Inside the pod networks an address is a pod's whatever the routes say.
            pod.record(nil, to: own, through: link)
            table.set(pod, behind: edge)
            let node = table.node(Self.selection)
            let plan = node.addressPlan(Self.settings)
            #expect(plan.localPodAddresses.contains(other) == isReached)
            #expect(plan.localPodAddresses.contains(own))
            #expect(node.localEdges.contains(other) == isReached)
            #expect(node.veths.first { $0.link.index == edge }?.otherAddresses == [other])
        }
    }

    @Test("no address of the node's own")
    func nodesAddress() {
        var table = Self.table()
        let gateway = Self.address("10.244.1.1")
        table.set(
            EdgeTable.Pod(addresses: [Self.address("10.244.1.2"), gateway], mac: Self.mac(2)),
            behind: 7)
        table.reset(
            addresses: [
                InterfaceAddress(
                    interfaceIndex: Self.bridge, address: gateway, prefixBitCount: 24)
            ], routes: [])
        let plan = table.node(Self.selection).addressPlan(Self.settings)
        #expect(plan.nodeAddresses == [gateway])
        #expect(!plan.isPod(gateway))
    }

    @Test("senders that nobody knows, a few of each pod, until they are the pod's addresses")
    func senders() {
        var table = Self.table()
        for number in 1...99 { table.addSender(Self.address("10.8.0.\(number)"), behind: 7) }
        let senders = { table.node(Self.selection).veths.first { $0.link.index == 7 }?.senders }
        #expect(senders()?.count == EdgeTable.senderCountMax)
        table.set(
            EdgeTable.Pod(
                addresses: [Self.address("10.8.0.1")], mac: Self.mac(2)), behind: 7)
        #expect(senders()?.contains(Self.address("10.8.0.1")) == false)
    }
}
