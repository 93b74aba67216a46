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
        guard rule.deduplicates, pods.isComplete, let family = openingFamily(of: frame) else {
            return nil
        }
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
