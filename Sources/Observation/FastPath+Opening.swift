import Addressing
import Packets

/// Step 8, requests: the short way for plain TCP segments with SYN or RST.
///
/// They come twice for each connection. `SlowPath` comes to the same decisions about them, and takes
/// twenty times as long.
extension FastPath {
    /// What a plain TCP segment with SYN or RST is.
    package struct Opening: Equatable, Sendable {
        package let kind: Kind
        /// Whether this edge reports the frame, if it waits for nothing.
        package let isReported: Bool
        /// Which of a request's edges this is.
        package let edge: RequestEdge
        /// The name of the request that the frame is or answers.
        package let key: RequestKey

        package enum Kind: Equatable, Sendable {
            /// One end is not a pod, so the program has decided: it kept the frame.
            case kept
            /// Both ends are pods, but the frame has no part in a request.
            case neither
            case request
            case answer
            case reset
        }
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
        let sourcePort = frame.uint16(at: transport + PortsHeader.source)
        let destinationPort = frame.uint16(at: transport + PortsHeader.destination)
        // The comparisons of `IPAddress` are calls, and this is done for each connection.
        let isSame = source.high == destination.high && source.low == destination.low
        guard !isSame else { return nil }
        let flags = frame.uint8(at: transport + TCPHeader.flags)
        // As in `Rule.lowerEnd`.
        let isFromObservedEnd =
            if sourcePort != destinationPort {
                sourcePort < destinationPort
            } else if source.high != destination.high {
                source.high < destination.high
            } else {
                source.low < destination.low
            }
        let isReset = flags & TCPHeader.rst != 0
        let kind: Opening.Kind
        if !pods.contains(source) || !pods.contains(destination) {
            kind = .kept
        } else if isFromObservedEnd {
            kind = isReset ? .reset : .answer
        } else {
            kind = isReset || flags & TCPHeader.ack != 0 ? .neither : .request
        }
        return Opening(
            kind: kind, isReported: isFromObservedEnd == (direction == .fromPod),
            edge: isFromObservedEnd == (direction == .fromPod) ? .observedEnd : .sender,
            key: isFromObservedEnd
                ? RequestKey(
                    transport: IPProtocol.tcp, source: destination, destination: source,
                    sourcePort: destinationPort, destinationPort: sourcePort)
                : RequestKey(
                    transport: IPProtocol.tcp, source: source, destination: destination,
                    sourcePort: sourcePort, destinationPort: destinationPort))
    }
}

/// What tells pods from others, as plain numbers, where no rule has to be asked.
///
/// Pods outside the pod networks are not in it: packets with their addresses go through `SlowPath`.
struct PlainPods: Sendable {
    private var pods = Networks()
    private var uncovered = Networks()
    private let nodes: AddressTable

    private struct Networks: Sendable {
        var ipv4 = [4 of Network](repeating: Network())
        var ipv6 = [4 of Network](repeating: Network())
        var ipv4Count = 0
        var ipv6Count = 0

        /// - Returns: false if there is no room for it.
        mutating func add(_ network: IPNetwork) -> Bool {
            let item = Network(
                maskHigh: network.mask.high, maskLow: network.mask.low,
                high: network.address.high, low: network.address.low)
            switch network.family {
            case .ipv4:
                guard ipv4Count < ipv4.count else { return false }
                ipv4[ipv4Count] = item
                ipv4Count += 1
            case .ipv6:
                guard ipv6Count < ipv6.count else { return false }
                ipv6[ipv6Count] = item
                ipv6Count += 1
            }
            return true
        }

        @inline(__always)
        func contain(_ address: IPAddress) -> Bool {
            switch address.family {
            case .ipv4:
                for index in 0..<ipv4Count
                where address.low & ipv4[index].maskLow == ipv4[index].low {
                    return true
                }
            case .ipv6:
                for index in 0..<ipv6Count
                where address.high & ipv6[index].maskHigh == ipv6[index].high
                    && address.low & ipv6[index].maskLow == ipv6[index].low
                {
                    return true
                }
            }
            return false
        }
    }

    private struct Network: Sendable {
        var maskHigh: UInt64 = 0
        var maskLow: UInt64 = 0
        var high: UInt64 = 0
        var low: UInt64 = 0
    }

    /// - Returns: nil if there are more networks than it has room for, or every edge reports all.
    init?(_ rule: Rule) {
        guard rule.deduplicates else { return nil }
        for network in rule.addressPlan.podNetworks where !pods.add(network) { return nil }
        for network in rule.addressPlan.uncovered where !uncovered.add(network) { return nil }
        nodes = AddressTable(
            Dictionary(rule.nodeAddressesInPodNetworks.map { ($0, 0) }) { first, _ in first })
    }

    func contains(_ address: IPAddress) -> Bool {
        pods.contain(address) && !uncovered.contain(address) && nodes[address] == nil
    }
}
