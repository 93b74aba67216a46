package import Addressing
import Packets

/// The rule by which exactly one edge reports each packet, in plain Swift.
///
/// Two edges that see the same packet come to opposite decisions from the same bytes, so no agent
/// has to ask another. `EdgeProgram` is the same rule for the kernel. If that says keep or drop,
/// this one agrees; the differential test holds both to it. The steps are numbered as in the
/// article on the rule in this module's documentation.
package struct Rule: Equatable, Sendable {
    package let addressPlan: AddressPlan
    /// Whether one edge only reports each packet.
    ///
    /// If not, every edge reports everything but the feed itself.
    package let deduplicates: Bool
    /// The node addresses inside the pod networks.
    let nodeAddressesInPodNetworks: [IPAddress]
    /// The addresses of this node's pods outside the pod networks.
    ///
    /// Link-local addresses are left out: programs punt all packets with one.
    let podAddressesOutsideNetworks: Set<IPAddress>

    package init(_ addressPlan: AddressPlan, deduplicates: Bool = true) {
        self.addressPlan = addressPlan
        self.deduplicates = deduplicates
        nodeAddressesInPodNetworks = addressPlan.nodeAddresses.filter { address in
            addressPlan.podNetworks.contains { $0.contains(address) }
        }.sorted()
        podAddressesOutsideNetworks = addressPlan.localPodAddresses.filter {
            !$0.isLinkLocalIPv6 && !addressPlan.isPodByNetwork($0)
        }
    }

    /// Decides about a frame that passes an edge, from its bytes alone.
    ///
    /// - Parameters:
    ///   - frame: The frame's bytes.
    ///   - direction: The direction at the edge.
    ///   - point: The edge.
    ///   - isToPodItself: Whether the kernel has said that the frame is addressed to the pod's
    ///     interface, as it does inside the pod. Then its MAC address does not matter.
    /// - Returns: The decision.
    package func decision(
        on frame: RawSpan, direction: Direction, at point: ObservationPoint,
        isToPodItself: Bool = false
    ) -> Decision {
        decision(
            on: Headers(frame), in: frame, direction: direction, at: point,
            isToPodItself: isToPodItself)
    }

    /// Decides about a frame whose headers have been read.
    ///
    /// The caller may have given the packet ports that are not in the frame, and may know that the
    /// source MAC address is that of another node's pod.
    func decision(
        on headers: Headers, in frame: RawSpan, direction: Direction, at point: ObservationPoint,
        isToPodItself: Bool, isFromRemotePod: Bool = false
    ) -> Decision {
        if let packet = headers.packet, isOwnFeed(packet) { return .refuse(.ownFeed) }
        guard deduplicates else { return .report(.everyEdge) }
        if headers.destination.isGroup {
            return groupFrame(
                headers, direction: direction, at: point, isFromRemotePod: isFromRemotePod)
        }
        if direction == .toPod, !isToPodItself, !owns(headers, at: point) {
            return .refuse(.flooded)
        }
        guard let packet = headers.packet else {
            let isFromPod =
                direction == .toPod && (isFromRemotePod || isFromLocalPod(headers, at: point))
            return isFromPod ? .refuse(.withoutIP) : .report(.withoutIP)
        }
        let decision = unicast(packet, in: frame, direction: direction, at: point)
        guard decision.step == .oneEndIsNoPod, direction == .toPod, point.bridgeMAC != nil,
            isFromRemotePod || isFromLocalPod(headers, at: point),
            // With br_netfilter the bridge itself may have translated a pod's reply.
            !(packet.source.isRoutable && addressPlan.nodeAddresses.contains(packet.source))
        else { return decision }
        return .refuse(.noPodFromPod)
    }

    /// Step 1, own feed: traffic between a sensor and what is not a pod.
    ///
    /// A sensor may run as a pod. Its traffic with other pods is reported like any other.
    private func isOwnFeed(_ packet: IPPacket) -> Bool {
        let (source, destination) = (packet.source, packet.destination)
        return addressPlan.sensors.contains(source) && !addressPlan.isPod(destination)
            || addressPlan.sensors.contains(destination) && !addressPlan.isPod(source)
    }

    /// Step 3, group frames: a bridge copies them to all its ports.
    ///
    /// If none of its pods sent it, each copy would be reported; `CopyTable` keeps the first one.
    private func groupFrame(
        _ headers: Headers, direction: Direction, at point: ObservationPoint, isFromRemotePod: Bool
    ) -> Decision {
        guard direction == .toPod else { return .report(.groupIngress) }
        let sender = headers.packet?.source ?? headers.arpSender
        if isFromRemotePod || isFromLocalPod(headers, at: point)
            || sender.map({ isPod($0, at: point) }) == true
        {
            return .refuse(.groupFromPod)
        }
        if headers.source == point.deviceMAC { return .report(.groupFromDevice) }
        return .report(.groupFromElsewhere)
    }

    /// Whether an address is a pod's, for a packet at an edge.
    ///
    /// Each link has link-local addresses of its own. Another link's pod may have that of a gateway.
    private func isPod(_ address: IPAddress, at point: ObservationPoint) -> Bool {
        address.isLinkLocalIPv6 && !addressPlan.isPodByNetwork(address)
            ? point.domain.edge(of: address) != nil : addressPlan.isPod(address)
    }

    /// Steps 4 to 6, unicast packets: service forms are refused; `SlowPath` looks their flows up.
    private func unicast(
        _ packet: IPPacket, in frame: RawSpan, direction: Direction, at point: ObservationPoint
    ) -> Decision {
        let (source, destination) = (packet.source, packet.destination)
        if addressPlan.isService(source) || addressPlan.isService(destination) {
            return .refuse(.serviceForm)
        }
        guard isPod(source, at: point), isPod(destination, at: point) else {
            return .report(.oneEndIsNoPod)
        }
        return decision(from: source, to: destination, direction: direction) {
            observedEnd(of: packet, in: frame)
        }
    }

    /// Steps 5 and 6, for a packet that has the same addresses at all edges that it passes.
    func decision(
        from source: IPAddress, to destination: IPAddress, direction: Direction,
        observedEnd: () -> IPAddress
    ) -> Decision {
        guard addressPlan.isPod(source), addressPlan.isPod(destination) else {
            return .report(.oneEndIsNoPod)
        }
        // Other nodes do not take a pod outside the pod networks for one, so the other end's edge
        // reports. That may be this one: of a guest's address only its network is known.
        let isSourceKnownAlike = addressPlan.isPodByNetwork(source)
        if isSourceKnownAlike != addressPlan.isPodByNetwork(destination),
            !addressPlan.isLocalPod(isSourceKnownAlike ? source : destination)
        {
            return isSourceKnownAlike == (direction == .fromPod)
                ? .report(.oneEndIsNoPodElsewhere) : .refuse(.oneEndIsNoPodElsewhere)
        }
        guard source != destination else {
            return direction == .toPod ? .refuse(.itself) : .report(.itself)
        }
        // The edge's pod is the source of frames from it, and the destination of frames to it.
        return observedEnd() == (direction == .toPod ? destination : source)
            ? .report(.observedEnd) : .refuse(.observedEnd)
    }

    /// Step 6, observed end: the end with the lower port, or else with the lower address.
    ///
    /// An ICMP error follows the flow of the packet that it quotes, if that has the same two ends.
    private func observedEnd(of packet: IPPacket, in frame: RawSpan) -> IPAddress {
        if let quoted = packet.quoted(in: frame),
            quoted.source == packet.destination, quoted.destination == packet.source
        {
            return Self.lowerEnd(of: FlowKey(quoted))
        }
        return Self.lowerEnd(of: FlowKey(packet))
    }

    /// Returns the end with the lower port, or else with the lower address.
    package static func lowerEnd(of flow: FlowKey) -> IPAddress {
        if flow.sourcePort != flow.destinationPort {
            return flow.sourcePort < flow.destinationPort ? flow.source : flow.destination
        }
        return min(flow.source, flow.destination)
    }
}

extension Rule {
    /// Whether programs made from another rule are the same.
    ///
    /// Programs do not depend on which pods of the pod networks are on this node.
    package func hasSamePrograms(as other: Rule) -> Bool {
        var (own, others) = (addressPlan, other.addressPlan)
        for keyPath in [\AddressPlan.localPodAddresses, \.nodeAddresses] {
            own[keyPath: keyPath] = []
            others[keyPath: keyPath] = []
        }
        (own.macs, others.macs) = (MACTable(), MACTable())
        return own == others && deduplicates == other.deduplicates
            && nodeAddressesInPodNetworks == other.nodeAddressesInPodNetworks
            && podAddressesOutsideNetworks == other.podAddressesOutsideNetworks
    }
}

/// The limits of what programs decide.
extension Rule {
    /// Whether programs punt all packets that turn on single addresses, since there are too many.
    var puntsAddresses: Bool { puntsNodeAddresses || puntsPodAddresses }

    var puntsNodeAddresses: Bool {
        nodeAddressesInPodNetworks.count > Self.programAddressCountMax
    }

    var puntsPodAddresses: Bool {
        podAddressesOutsideNetworks.count > Self.programAddressCountMax
    }

    /// The most addresses of one list that go into a program.
    ///
    /// Each takes about two instructions for the source and two for the destination. The kernel
    /// takes 4,096 instructions, and most of them are for the client's filter.
    static let programAddressCountMax = 250
}
