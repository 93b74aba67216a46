import Addressing
import Observation
import ObservationFixtures
import Packets

/// A sender or receiver of packets in a network of two nodes.
struct NetworkEnd: Equatable {
    var address: IPAddress
    var mac: MACAddress
    /// The node and the place of the pod behind whose edge it is; nil for nodes and the outside.
    var node: Int?
    var pod: Int?

    var isPod: Bool { pod != nil }
    func isBehindSameEdge(as other: Self) -> Bool {
        isPod && node == other.node && pod == other.pod
    }
}

/// A packet as each edge that it passes sees it.
struct PassingPacket: CustomStringConvertible {
    struct Sight {
        let node: Int
        let pod: Int
        let direction: Direction
        let frame: [UInt8]
        /// Whether the frame has the form that is reported: pod form, unless there is none.
        var isInFinalForm = true
    }

    let kind: String
    var sights: [Sight] = []
    /// How often it is to be reported.
    var reportCount = 1

    var description: String { "\(kind): \(sights)" }
}

/// Two nodes of two pods each, and what passes between their pods, guests, nodes and the outside.
struct RandomNetwork {
    private(set) var nodes: [NetworkNode] = []
    private(set) var pods: [[NetworkEnd]] = []
    /// What lives behind an edge beside the pod's own address.
    private(set) var others: [NetworkEnd] = []
    /// The guests that no node knows yet, because they have never said anything.
    private(set) var silent: Set<MACAddress> = []
    private let outside = [Site.outside4, Site.outside6]
    static let gateways = [
        [Site.gateway4, Site.gateway6], [Site.peerGateway4, Site.peerGateway6],
    ]
    static let bridgeMACs = [Site.bridgeMAC, mac("02:00:00:00:00:02")]
    static let families: [IPAddress.Family] = [.ipv4, .ipv6]

    init(with generator: inout some RandomNumberGenerator) {
        for node in 0..<2 {
            pods.append([])
            for pod in 0..<2 {
                let number = "\(node)\(pod)"
                let podMAC = mac("02:00:00:00:02:\(number)")
                for text in [
                    "10.244.\(node + 1).1\(number)", "fd00:10:244:\(node + 1)::1\(number)",
                ] {
                    pods[node].append(
                        NetworkEnd(address: address(text), mac: podMAC, node: node, pod: pod))
                }
                addOthers(behind: pod, of: node, podMAC, with: &generator)
            }
        }
        for node in 0..<2 { nodes.append(makeNode(node, with: &generator)) }
    }

    /// Adds guests with the pod's addresses, link-local addresses, and what lies behind one pod.
    private mutating func addOthers(
        behind pod: Int, of node: Int, _ podMAC: MACAddress,
        with generator: inout some RandomNumberGenerator
    ) {
        func end(_ text: String, _ mac: MACAddress) -> NetworkEnd {
            NetworkEnd(address: address(text), mac: mac, node: node, pod: pod)
        }
        others.append(end("fe80::\(node)\(pod)", podMAC))
        for guest in 0..<[0, 1, 3, 20, 24][Int.random(in: 0..<5, using: &generator)] {
            let guestMAC = mac("02:00:00:01:\(node)\(pod):\(guest + 10)")
            if Int.random(in: 0..<4, using: &generator) == 0 { silent.insert(guestMAC) }
            for text in [
                "10.244.\(node + 1).\(150 + pod * 50 + guest)",
                "fd00:10:244:\(node + 1)::2\(pod)\(guest)",
            ] {
                others.append(end(text, guestMAC))
            }
        }
        if node == 0, pod == 0 {
            for address in [Site.vpn4, Site.vpn6, Site.extra4, Site.extra6] {
                others.append(NetworkEnd(address: address, mac: podMAC, node: 0, pod: 0))
            }
        }
    }

    private func makeNode(_ node: Int, with generator: inout some RandomNumberGenerator)
        -> NetworkNode
    {
        let ends = (pods[node] + others).filter { $0.node == node }
        var plan = AddressPlan(
            podNetworks: Site.addressPlan.podNetworks,
            serviceNetworks: Site.addressPlan.serviceNetworks,
            nodeAddresses: Set(Self.gateways.joined()).union([Site.node4, Site.node6]),
            localPodNetworks: node == 0 ? Site.addressPlan.localPodNetworks : [])
        let behind = [Site.vpn4, Site.vpn6]
        let known = ends.filter { !behind.contains($0.address) }
        plan.localPodAddresses = Set(known.map(\.address))
        let bridge = UInt32(10 + node)
        for end in ends where !silent.contains(end.mac) {
            plan.macs.add(end.mac, on: bridge, at: .edge(Self.edge(node, end.pod)))
        }
        plan.macs.add(Self.bridgeMACs[node], on: bridge, at: .elsewhere)
        plan.macs.add(Site.outsideMAC, on: bridge, at: .elsewhere)
        let domain = ObservationPoint.Domain(
            (0..<2).map { pod in
                (Self.edge(node, pod), known.filter { $0.pod == pod }.map(\.address))
            })
        let hasOtherPorts = Bool.random(using: &generator)
        let points = (0..<2).map { pod in
            let macs = plan.macs.addressesByEdge()[Self.edge(node, pod)] ?? []
            let podMAC = pods[node].first { $0.pod == pod }?.mac
            return ObservationPoint(
                interfaceIndex: Self.edge(node, pod), podMAC: podMAC,
                otherMACs: macs.filter { $0 != podMAC }, deviceMAC: Self.deviceMAC(node, pod),
                bridge: bridge, bridgeMAC: Self.bridgeMACs[node], hasOtherPorts: hasOtherPorts,
                domain: domain)
        }
        return NetworkNode(Rule(plan), points)
    }

    private static func edge(_ node: Int, _ pod: Int?) -> UInt32 {
        UInt32(node * 10 + (pod ?? 0) + 1)
    }
    static func deviceMAC(_ node: Int, _ pod: Int) -> MACAddress {
        mac("02:00:00:00:03:\(node)\(pod)")
    }
}

extension RandomNetwork {
    /// Has each node learn what it knows by now, and make programs of it.
    mutating func refresh() {
        for node in nodes { node.refresh() }
    }

    /// Returns the reports of a packet, in the order in which rings are read.
    mutating func reports(
        of packet: PassingPacket, with generator: inout some RandomNumberGenerator
    ) -> [NetworkNode.Report] {
        for node in nodes { node.sentAt += 1_000_000_000 }
        for sight in packet.sights where sight.direction == .fromPod {
            // The bridge knows it by now, and so does the agent, since frames wait for that.
            let source = MACAddress(sight.frame.wire, at: 6)
            guard silent.remove(source) != nil else { continue }
            nodes[sight.node].learn(source, at: sight.pod)
        }
        return packet.sights.shuffled(using: &generator).compactMap { sight in
            nodes[sight.node].report(sight)
        }
    }

    /// Returns a packet of any kind, or the fragments of one.
    mutating func packets(
        with generator: inout some RandomNumberGenerator
    ) -> [PassingPacket] {
        switch Int.random(in: 0..<12, using: &generator) {
        case 0: [group(with: &generator)]
        case 1: [linkLocal(with: &generator)]
        case 2, 3: [call(with: &generator)]
        case 4: [nobodys(with: &generator)]
        case 5: fragments(with: &generator)
        default: [unicast(with: &generator)]
        }
    }

    func podEnd(
        _ family: IPAddress.Family, with generator: inout some RandomNumberGenerator
    ) -> NetworkEnd {
        let all = pods.joined() + others
        let pool = all.filter { $0.address.family == family && !$0.address.isLinkLocalIPv6 }
        return pool.randomElement(using: &generator) ?? pods[0][0]
    }

    /// Returns a node's address, or one outside; its frames come from the bridge of the pod's node.
    private func strangeEnd(
        _ family: IPAddress.Family, with generator: inout some RandomNumberGenerator
    ) -> NetworkEnd {
        let pool = (outside + Self.gateways.joined()).filter { $0.family == family }
        return NetworkEnd(
            address: pool.randomElement(using: &generator) ?? outside[0], mac: Site.outsideMAC)
    }

    /// Returns a packet between two ends, one of which at least is behind an edge.
    mutating func unicast(
        with generator: inout some RandomNumberGenerator
    ) -> PassingPacket {
        let family = Self.families.randomElement(using: &generator) ?? .ipv4
        var (from, to) = (podEnd(family, with: &generator), podEnd(family, with: &generator))
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: to = strangeEnd(family, with: &generator)
        case 1: from = strangeEnd(family, with: &generator)
        default: break
        }
        // What stays behind one edge passes none.
        guard !from.isBehindSameEdge(as: to) else { return unicast(with: &generator) }
        let body = Body(with: &generator, family)
        track(
            body.flow(from.address, to.address), from, to, isFirst: Bool.random(using: &generator))
        return passing("unicast", body.packet(from.address, to.address), from, to, with: &generator)
    }

    /// Returns a packet with the edges that it passes on its way.
    func passing(
        _ kind: String, _ packet: [UInt8], _ from: NetworkEnd, _ to: NetworkEnd,
        isBridged: Bool = false, with generator: inout some RandomNumberGenerator
    ) -> PassingPacket {
        var passing = PassingPacket(kind: kind)
        let isBridged =
            from.isPod && from.node == to.node
            && (isBridged || Int.random(in: 0..<3, using: &generator) > 0)
        let type = packet[0] >> 4 == 4 ? EtherType.ipv4 : EtherType.ipv6
        // A bridge floods what goes to an address that it has forgotten.
        let isFlooded =
            silent.contains(to.mac) || Int.random(in: 0..<6, using: &generator) == 0
        func copies(_ node: Int, _ frame: [UInt8], to pod: Int, except sender: Int?) {
            for place in 0..<2 where place == pod || isFlooded && place != sender {
                passing.sights.append(
                    .init(node: node, pod: place, direction: .toPod, frame: frame))
            }
        }
        if let node = from.node, let pod = from.pod {
            let target = isBridged ? to.mac : Self.bridgeMACs[node]
            let frame = Frame.ethernet(to: target, from: from.mac, type: type, packet)
            passing.sights.append(
                .init(node: node, pod: pod, direction: .fromPod, frame: frame))
            if isBridged, let other = to.pod {
                copies(node, frame, to: other, except: pod)
                return passing
            }
        }
        if let node = to.node, let pod = to.pod {
            var packet = packet
            packet[packet[0] >> 4 == 4 ? 8 : 7] -= 1
            let frame = Frame.ethernet(
                to: to.mac, from: Self.bridgeMACs[node], type: type, packet)
            copies(node, frame, to: pod, except: nil)
        }
        return passing
    }

    /// Has the nodes that route a packet track its flow, as begun by one end or the other.
    private mutating func track(
        _ flow: FlowKey, _ from: NetworkEnd, _ to: NetworkEnd, isFirst: Bool
    ) {
        let original = isFirst ? flow : flow.reversed
        for node in Set([from.node, to.node].compactMap { $0 }) {
            nodes[node].track(TrackedFlow(original: original, reply: original.reversed))
        }
    }
}
