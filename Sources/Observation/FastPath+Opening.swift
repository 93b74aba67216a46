import Addressing
import Packets

/// Step 8, requests: the short way for plain TCP segments with SYN or RST.
///
/// They come twice for each connection. `SlowPath` comes to the same decisions about them, and takes
/// twenty times as long.
extension FastPath {
    /// What is to be done with a frame that a program which decides let through.
    package enum Opening: Equatable, Sendable {
        /// One end is not a pod, so the program has decided: it kept the frame.
        case kept
        /// Both ends are pods: the program has left the frame to user space.
        ///
        /// Whether this edge reports the frame, and the frame's part in a request if it has one.
        case punted(isReported: Bool, RequestPart?)
    }

    /// Decides about a plain TCP segment with SYN or RST; nil for all other frames.
    @inline(never)
    package func opening(_ frame: RawSpan, direction: Direction) -> Opening? {
        guard let pods, let family = openingFamily(of: frame) else { return nil }
        let (addresses, transport) =
            switch family {
            case .ipv4: (PlainFrame.IPv4.source, PlainFrame.IPv4.transport)
            case .ipv6: (PlainFrame.IPv6.source, PlainFrame.IPv6.transport)
            }
        let source = IPAddress(family, frame, at: addresses)
        let destination = IPAddress(family, frame, at: addresses + family.byteCount)
        guard pods.contains(source), pods.contains(destination) else { return .kept }
        let flow = FlowKey(
            transport: IPProtocol.tcp, source: source, destination: destination,
            sourcePort: frame.uint16(at: transport + PortsHeader.source),
            destinationPort: frame.uint16(at: transport + PortsHeader.destination))
        guard source != destination,
            let opening = Packets.Opening(tcpFlags: frame.uint8(at: transport + TCPHeader.flags))
        else { return nil }
        let isFromObservedEnd = Rule.lowerEnd(of: flow) == source
        return .punted(
            isReported: isFromObservedEnd == (direction == .fromPod),
            RequestPart(
                opening, of: flow, isFromObservedEnd: isFromObservedEnd, direction: direction))
    }
}

/// What tells pods from others, as plain numbers, where no rule has to be asked.
///
/// Pods outside the pod networks are not in it: packets with their addresses go through `SlowPath`.
struct PlainPods: Sendable {
    private var pods = [4 of IPNetwork](repeating: Self.nothing)
    private var uncovered = [4 of IPNetwork](repeating: Self.nothing)
    private var podCount = 0
    private var uncoveredCount = 0
    private let nodes: AddressTable

    private static let nothing = IPNetwork(IPAddress(ipv4: 0), prefixBitCount: 32)

    /// - Returns: nil if there are more networks than it has room for, or no edge is chosen at all.
    init?(_ rule: Rule) {
        let plan = rule.addressPlan
        guard rule.deduplicates, plan.podNetworks.count <= 4, plan.uncovered.count <= 4 else {
            return nil
        }
        for network in plan.podNetworks {
            pods[podCount] = network
            podCount += 1
        }
        for network in plan.uncovered {
            uncovered[uncoveredCount] = network
            uncoveredCount += 1
        }
        nodes = AddressTable(
            Dictionary(rule.nodeAddressesInPodNetworks.map { ($0, 0) }) { first, _ in first })
    }

    func contains(_ address: IPAddress) -> Bool {
        var isInside = false
        for index in 0..<podCount where pods[index].contains(address) { isInside = true }
        guard isInside else { return false }
        for index in 0..<uncoveredCount where uncovered[index].contains(address) { return false }
        return nodes[address] == nil
    }
}
