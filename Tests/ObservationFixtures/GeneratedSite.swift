package import Addressing
package import Observation
import Packets

/// A node at random, with three edges, and what its pods call.
///
/// It is made of the site's addresses, so that generated frames meet it.
package struct GeneratedSite: Sendable {
    package let rule: Rule
    package let points: [ObservationPoint]
    /// What connection tracking tells of.
    package let flows: [TrackedFlow]
    /// The MAC addresses whose flooded copies are dropped.
    package let floods: Set<MACAddress>

    package init(with generator: inout some RandomNumberGenerator) {
        let plan = Self.plan(with: &generator)
        rule = Rule(plan, deduplicates: Int.random(in: 0..<12, using: &generator) > 0)
        points = Self.edges.map { Self.point($0, plan, with: &generator) }
        let count = [0, 3, 20, 200].randomElement(using: &generator) ?? 0
        flows = (0..<count).map { _ in Self.flow(with: &generator) }
        floods = Set(Self.some(of: Self.allMACs, with: &generator).prefix(8))
    }

    private static let edges: ClosedRange<UInt32> = 11...13
    private static let guests = (16..<64).map { mac("02:00:00:00:0b:\(String($0, radix: 16))") }
    private static let allMACs =
        guests + [
            Site.aMAC, Site.bMAC, Site.guestMAC, Site.lateGuestMAC, Site.outsideMAC, Site.bridgeMAC,
            Site.bDeviceMAC, Site.strangerMAC,
        ]
    private static let groups = [
        "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb", "33:33:00:00:00:01", "33:33:ff:00:00:02",
        "01:80:c2:00:00:0e",
    ].map(mac)

    private static func networks(_ texts: String...) -> [IPNetwork] { texts.map(network) }

    private static let podNetworkLists: [[IPNetwork]] = [
        Site.addressPlan.podNetworks, Site.addressPlan.podNetworks, [],
        networks("10.244.1.0/24", "fd00:10:244:1::/64"), networks("0.0.0.0/0", "::/0"),
        networks("10.0.0.0/8", "fd00::/16"), networks("10.244.0.0/16", "fe80::/10"),
        networks("fd00:10:244::/56", "2001:db8:1::/48"),
        networks(
            "10.244.1.2/32", "10.244.1.3/32", "10.244.2.0/24", "10.244.9.0/24", "172.20.0.0/16"),
    ]
    private static let serviceNetworkLists: [[IPNetwork]] = [
        Site.addressPlan.serviceNetworks, Site.addressPlan.serviceNetworks, [],
        networks("10.96.0.10/32", "203.0.113.0/24"),
        networks("10.96.0.0/24", "10.96.1.0/24", "10.96.2.0/24", "10.96.3.0/24", "10.97.0.0/16"),
    ]
    private static let otherNetworks = networks(
        "10.8.0.0/24", "fd00:8::/64", "10.244.9.0/24", "172.20.0.0/24", "2001:db8::/32",
        "192.168.100.0/24", "10.244.2.77/32", "fd00:10:244:9::/64")

    private static func some<Element>(
        of all: some Collection<Element>, with generator: inout some RandomNumberGenerator
    ) -> [Element] {
        let share = Int.random(in: 0...4, using: &generator)
        return all.filter { _ in Int.random(in: 0..<4, using: &generator) < share }
    }

    private static func plan(with generator: inout some RandomNumberGenerator) -> AddressPlan {
        if Bool.random(using: &generator) {
            var plan = Site.addressPlan
            plan.macs = macs(with: &generator)
            return plan
        }
        let all = Site.all4 + Site.all6
        let podNetworks = podNetworkLists.randomElement(using: &generator) ?? []
        let local = Set(some(of: all, with: &generator))
        return AddressPlan(
            podNetworks: podNetworks,
            serviceNetworks: serviceNetworkLists.randomElement(using: &generator) ?? [],
            uncovered: Array(some(of: otherNetworks, with: &generator).prefix(5)),
            // What a pod of this node has is never a node's.
            nodeAddresses: Set(some(of: all, with: &generator)).subtracting(local),
            sensors: Set(some(of: all, with: &generator).prefix(3)), localPodAddresses: local,
            // Networks behind pods are outside the pod networks.
            localPodNetworks: some(of: otherNetworks, with: &generator).filter { network in
                !podNetworks.contains { $0.overlaps(network) }
            },
            macs: macs(with: &generator))
    }

    private static func macs(with generator: inout some RandomNumberGenerator) -> MACTable {
        var macs = MACTable(crowdedEdges: Set(some(of: edges, with: &generator)))
        macs.add(Site.bridgeMAC, on: Site.bridge, at: .elsewhere)
        for mac in some(of: allMACs, with: &generator) {
            let edge = edges.randomElement(using: &generator) ?? 11
            let isElsewhere = Int.random(in: 0..<5, using: &generator) == 0
            macs.add(mac, on: Site.bridge, at: isElsewhere ? .elsewhere : .edge(edge))
        }
        return macs
    }

    private static func point(
        _ index: UInt32, _ plan: AddressPlan, with generator: inout some RandomNumberGenerator
    ) -> ObservationPoint {
        let known = plan.macs.addressesByEdge()[index] ?? []
        let podMAC = known.first ?? guests[Int(index - 11)]
        let isPort = Int.random(in: 0..<4, using: &generator) > 0
        let hasMAC = Int.random(in: 0..<6, using: &generator) > 0
        let hasBridgeMAC = Int.random(in: 0..<4, using: &generator) > 0
        return ObservationPoint(
            interfaceIndex: index, podMAC: hasMAC ? podMAC : nil,
            otherMACs: Array(known.dropFirst()),
            deviceMAC: Bool.random(using: &generator) ? Site.bDeviceMAC : nil,
            bridge: isPort ? Site.bridge : nil,
            bridgeMAC: isPort && hasBridgeMAC ? Site.bridgeMAC : nil,
            hasOtherPorts: Bool.random(using: &generator),
            domain: ObservationPoint.Domain(
                edges.map { edge in
                    (edge, some(of: plan.localPodAddresses.sorted(), with: &generator))
                }),
            side: Bool.random(using: &generator) ? .host : .pod)
    }

    /// Returns a call of any kind; some are those of generated frames.
    private static func flow(with generator: inout some RandomNumberGenerator) -> TrackedFlow {
        let pool = Bool.random(using: &generator) ? Site.all4 : Site.all6
        func end() -> IPAddress { pool.randomElement(using: &generator) ?? pool[0] }
        func port() -> UInt16 {
            let ports: [UInt16] = [
                80, 443, 40_000, 40_001, 255, .random(in: 0...999, using: &generator),
            ]
            return ports.randomElement(using: &generator) ?? 80
        }
        let transport: UInt8 = [6, 6, 17, 132].randomElement(using: &generator) ?? 6
        let call = FlowKey(
            transport: transport, source: end(), destination: end(), sourcePort: port(),
            destinationPort: port())
        let isMasqueraded = Int.random(in: 0..<4, using: &generator) == 0
        let isPortChanged = Int.random(in: 0..<6, using: &generator) == 0
        return TrackedFlow(
            original: call,
            reply: FlowKey(
                transport: transport, source: end(),
                destination: isMasqueraded ? end() : call.source, sourcePort: port(),
                destinationPort: isPortChanged ? port() : call.sourcePort))
    }
}

extension GeneratedSite {
    /// Returns a frame that may pass one of the edges.
    package func frame(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        var frame = GeneratedFrame.make(with: &generator)
        if Int.random(in: 0..<3, using: &generator) == 0,
            let call = flows.randomElement(using: &generator)
        {
            frame = Self.frame(of: call, with: &generator)
        }
        guard frame.count >= 14 else { return frame }
        if Bool.random(using: &generator) {
            let pool = Int.random(in: 0..<8, using: &generator) == 0 ? Self.groups : Self.allMACs
            frame.replaceSubrange(0..<6, with: pool.randomElement(using: &generator)?.bytes ?? [])
        }
        if Bool.random(using: &generator) {
            let source = Self.allMACs.randomElement(using: &generator) ?? Site.aMAC
            frame.replaceSubrange(6..<12, with: source.bytes)
        }
        switch Int.random(in: 0..<24, using: &generator) {
        case 0: return Self.withoutIP(Array(frame[..<12]), with: &generator)
        case 1 where frame.count >= 20:
            // A GSO packet that is longer than its header can say.
            let offset = frame[12] == 8 ? 16 : 18
            frame.replaceSubrange(offset..<offset + 2, with: [0, 0])
        case 2 where frame.count >= 24:
            frame[frame[12] == 8 ? 22 : 21] =
                [1, 63, 64, 255].randomElement(using: &generator) ?? 64
        default: break
        }
        return frame
    }

    /// Returns a packet of a call, as its client's edge sees it.
    private static func frame(
        of call: TrackedFlow, with generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        let isReply = Bool.random(using: &generator)
        let flow = isReply ? call.original.reversed : call.original
        var ports = Frame.ports(flow.sourcePort, flow.destinationPort)
        // ACK, SYN, SYN-ACK or RST, if it is TCP.
        ports[13] = [0x10, 0x02, 0x12, 0x04].randomElement(using: &generator) ?? 0x10
        return Frame.ethernet(
            to: isReply ? Site.aMAC : Site.bridgeMAC, from: isReply ? Site.bridgeMAC : Site.aMAC,
            type: Frame.type(of: flow.source),
            Frame.ip(from: flow.source, to: flow.destination, protocol: flow.transport, ports))
    }

    /// Returns an ARP message, a neighbour solicitation, or what is neither.
    private static func withoutIP(
        _ macs: [UInt8], with generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        let source = MACAddress(macs.wire, at: 6)
        func end(_ pool: [IPAddress]) -> IPAddress {
            pool.randomElement(using: &generator) ?? pool[0]
        }
        switch Int.random(in: 0..<3, using: &generator) {
        case 0:
            return macs + [8, 6]
                + Frame.arp(
                    operation: Bool.random(using: &generator) ? 1 : 2, from: source,
                    end(Site.all4), asking: end(Site.all4))
        case 1:
            return macs + [0x86, 0xdd]
                + Frame.ip(
                    from: end(Site.all6), to: address("ff02::1:ff00:2"), protocol: 58,
                    Frame.solicitation(asking: end(Site.all6)))
        default:
            let type: [UInt8] =
                [[0x88, 0xcc], [0x81, 0], [0x88, 0x47], [0, 32]]
                .randomElement(using: &generator) ?? []
            return macs + type + [UInt8](repeating: 7, count: 60)
        }
    }
}
