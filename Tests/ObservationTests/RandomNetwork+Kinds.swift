import Addressing
import Observation
import ObservationFixtures
import Packets

/// Packets that are not from one address to another as they are.
extension RandomNetwork {
    /// Returns a packet with nobody's addresses, to a MAC address that is a pod's, or nobody's.
    func nobodys(with generator: inout some RandomNumberGenerator) -> PassingPacket {
        let body = Body(with: &generator, .ipv4)
        let packet = body.packet(address("0.0.0.0"), address("198.51.100.9"))
        let node = Int.random(in: 0..<2, using: &generator)
        let from = pods[node][0]
        let ends = (pods[node] + others).filter { $0.node == node && $0.pod == 1 }
        let to = ends.randomElement(using: &generator) ?? from
        // A pod's frame to a silent guest is one that nothing can be known about.
        let isFromPod = !silent.contains(to.mac) && Bool.random(using: &generator)
        let router = NetworkEnd(address: Site.outside4, mac: Site.outsideMAC)
        // No router brings it from one pod to the other.
        return passing(
            "nobody's", packet, isFromPod ? from : router, to, isBridged: isFromPod,
            with: &generator)
    }

    /// Returns the fragments of a datagram between two pods; identifications are used again.
    mutating func fragments(
        with generator: inout some RandomNumberGenerator
    ) -> [PassingPacket] {
        let family = Self.families.randomElement(using: &generator) ?? .ipv4
        let (from, to) = (podEnd(family, with: &generator), podEnd(family, with: &generator))
        guard !from.isBehindSameEdge(as: to) else { return fragments(with: &generator) }
        let body = Body(callWith: &generator)
        let flow = body.flow(from.address, to.address)
        let ports: [(UInt16, UInt16)] = [(53, 4000), (4000, 53)]
        let (near, far) = ports.randomElement(using: &generator) ?? (53, 4000)
        let identification = UInt8.random(in: 0..<3, using: &generator)
        let last = Int.random(in: 1...3, using: &generator)
        return (0...last).map { index in
            let payload =
                index == 0 ? Frame.ports(near, far, more: 12) : [UInt8](repeating: 7, count: 16)
            let more: UInt16 = index == last ? 0 : 1
            var packet: [UInt8]
            if family == .ipv4 {
                packet = Frame.ip(
                    from: flow.source, to: flow.destination, protocol: 17,
                    fragment: UInt16(index * 2) | more << 13, payload)
                packet[5] = identification
            } else {
                let field = UInt16(index * 16) | more
                packet = Frame.ip(
                    from: flow.source, to: flow.destination, protocol: 44,
                    [17, 0, UInt8(field >> 8), UInt8(field & 255), 0, 0, 0, identification]
                        + payload)
            }
            return passing("fragment \(index)", packet, from, to, with: &generator)
        }
    }

    /// Returns a packet between two link-local addresses of a link.
    func linkLocal(with generator: inout some RandomNumberGenerator) -> PassingPacket {
        let node = Int.random(in: 0..<2, using: &generator)
        let ends = others.filter { $0.node == node && $0.address.isLinkLocalIPv6 }.shuffled(
            using: &generator)
        let (from, to) = (ends[0], ends[1])
        let body = Body(with: &generator, .ipv6)
        let frame = Frame.ethernet(
            to: to.mac, from: from.mac, type: EtherType.ipv6,
            body.packet(from.address, to.address))
        return PassingPacket(
            kind: "link-local",
            sights: [(from, Direction.fromPod), (to, .toPod)].map { end, direction in
                .init(node: node, pod: end.pod ?? 0, direction: direction, frame: frame)
            })
    }

    /// Returns a frame to a group: from a pod or a guest, the node, an edge's device or outside.
    func group(with generator: inout some RandomNumberGenerator) -> PassingPacket {
        let node = Int.random(in: 0..<2, using: &generator)
        let sender = (pods[node] + others.filter { $0.node == node }).randomElement(
            using: &generator)
        var passing = PassingPacket(kind: "group")
        let kind = Int.random(in: 0..<4, using: &generator)
        let pod =
            kind == 0 ? sender?.pod : kind == 1 ? Int.random(in: 0..<2, using: &generator) : nil
        let source: MACAddress? =
            switch kind {
            case 0: sender?.mac
            case 1: pod.map { Self.deviceMAC(node, $0) }
            case 2: Self.bridgeMACs[node]
            default: Site.outsideMAC
            }
        let address = kind == 0 ? sender?.address : Self.gateways[node][0]
        let frame = groupFrame(
            source ?? Site.outsideMAC, address ?? Site.outside4, with: &generator)
        // A bridge that snoops sends it to some ports only.
        let isSnooped = kind > 1 && Bool.random(using: &generator)
        let member = Int.random(in: 0..<2, using: &generator)
        for place in 0..<2 {
            if kind == 1 && place != pod || isSnooped && place != member { continue }
            let direction: Direction = kind == 0 && place == pod ? .fromPod : .toPod
            passing.sights.append(
                .init(node: node, pod: place, direction: direction, frame: frame))
        }
        return passing
    }

    private func groupFrame(
        _ source: MACAddress, _ sender: IPAddress,
        with generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        let number = UInt8.random(in: 0...255, using: &generator)
        switch Int.random(in: 0..<3, using: &generator) {
        case 0:
            return Frame.ethernet(
                to: mac("01:80:c2:00:00:0e"), from: source, type: 0x88cc, [number, 1, 2])
        case 1 where sender.family == .ipv4:
            return Frame.ethernet(
                to: .broadcast, from: source, type: EtherType.arp,
                Frame.arp(operation: 1, from: source, sender, asking: Site.outside4) + [number])
        default:
            let isIPv4 = sender.family == .ipv4
            let packet = Frame.ip(
                from: sender, to: address(isIPv4 ? "224.0.0.251" : "ff02::fb"), protocol: 17,
                Frame.ports(5353, 5353) + [number])
            return Frame.ethernet(
                to: mac(isIPv4 ? "01:00:5e:00:00:fb" : "33:33:00:00:00:fb"), from: source,
                type: Frame.type(of: sender), packet)
        }
    }

    /// Returns a packet of a call to a service or a front, in one direction.
    mutating func call(with generator: inout some RandomNumberGenerator) -> PassingPacket {
        let family = Self.families.randomElement(using: &generator) ?? .ipv4
        let client = podEnd(family, with: &generator)
        let pool = pods.joined().filter { $0.address.family == family }
        let backend = pool.randomElement(using: &generator) ?? pods[0][0]
        guard let node = client.node, !client.isBehindSameEdge(as: backend) else {
            return call(with: &generator)
        }
        let isIPv4 = family == .ipv4
        let fronts =
            isIPv4
            ? [Site.service4, Site.node4, Site.outside4]
            : [Site.service6, Site.node6, Site.outside6]
        let called = fronts.randomElement(using: &generator) ?? fronts[0]
        let body = Body(callWith: &generator)
        let ports: [UInt16] = [80, 8080, 255, 50_000]
        let port = ports.randomElement(using: &generator) ?? 80
        let original = body.flow(client.address, called)
        let reply = FlowKey(
            transport: original.transport, source: backend.address, destination: client.address,
            sourcePort: port, destinationPort: original.sourcePort)
        let flow = TrackedFlow(original: original, reply: reply)
        nodes[node].learn(flow)
        if let other = backend.node, other != node {
            nodes[other].track(TrackedFlow(original: reply.reversed, reply: reply))
        }
        let isReply = Bool.random(using: &generator)
        let (service, podForm) =
            isReply ? (original.reversed, reply) : (original, reply.reversed)
        let stranger = NetworkEnd(address: called, mac: Site.outsideMAC)
        var atClient = passing(
            "call", body.packet(service), isReply ? stranger : client,
            isReply ? client : stranger, with: &generator)
        for index in atClient.sights.indices { atClient.sights[index].isInFinalForm = false }
        let atBackend = passing(
            "call", body.packet(podForm), isReply ? backend : stranger,
            isReply ? stranger : backend, with: &generator)
        return PassingPacket(kind: "call \(flow)", sights: atClient.sights + atBackend.sights)
    }
}
