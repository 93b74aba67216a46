package import Addressing
import Packets
import Time

/// The name of a request, which its answer has as well: the flow, and an echo's sequence number.
///
/// It is five numbers, since it is compared and copied for each connection.
package struct RequestKey: Hashable, Sendable {
    let sourceHigh: UInt64
    let sourceLow: UInt64
    let destinationHigh: UInt64
    let destinationLow: UInt64
    /// Both ports, the sequence number, the protocol and the version of IP, from the top down.
    let numbers: UInt64

    /// - Parameters:
    ///   - flow: The flow from the sender to the observed end.
    ///   - sequence: The sequence number of an echo; 0 for TCP.
    package init(_ flow: FlowKey, sequence: UInt16 = 0) {
        self.init(
            transport: flow.transport, source: flow.source, destination: flow.destination,
            sourcePort: flow.sourcePort, destinationPort: flow.destinationPort,
            sequence: sequence)
    }

    init(
        transport: UInt8, source: IPAddress, destination: IPAddress, sourcePort: UInt16,
        destinationPort: UInt16, sequence: UInt16 = 0
    ) {
        (sourceHigh, sourceLow) = (source.high, source.low)
        (destinationHigh, destinationLow) = (destination.high, destination.low)
        numbers =
            UInt64(sourcePort) << 48 | UInt64(destinationPort) << 32 | UInt64(sequence) << 16
            | UInt64(transport) << 8 | UInt64(source.family.rawValue)
    }

    /// The sender's address.
    package var source: IPAddress { address(sourceHigh, sourceLow) }
    /// The address of the observed end.
    package var destination: IPAddress { address(destinationHigh, destinationLow) }

    /// The flow from the sender to the observed end.
    package var flow: FlowKey {
        FlowKey(
            transport: UInt8(truncatingIfNeeded: numbers >> 8), source: source,
            destination: destination, sourcePort: UInt16(truncatingIfNeeded: numbers >> 48),
            destinationPort: UInt16(truncatingIfNeeded: numbers >> 32))
    }

    /// The sequence number of an echo; 0 for TCP.
    package var sequence: UInt16 { UInt16(truncatingIfNeeded: numbers >> 16) }

    private func address(_ high: UInt64, _ low: UInt64) -> IPAddress {
        UInt8(truncatingIfNeeded: numbers) == IPAddress.Family.ipv4.rawValue
            ? IPAddress(ipv4: UInt32(truncatingIfNeeded: low))
            : IPAddress(ipv6High: high, low: low)
    }
}

/// One of the two edges at which a request is held.
package enum RequestEdge: Hashable, Sendable, CaseIterable {
    /// The edge of the pod that sent the request.
    case sender
    /// The edge of the other pod, which reports the flow.
    case observedEnd
}

/// Step 8, requests: the part that a packet has in a request.
package enum RequestPart: Equatable, Sendable {
    /// The packet is a request: hold it.
    ///
    /// If it cannot be held, the decision about the packet stands.
    case request(RequestKey, at: RequestEdge)
    /// The packet is an answer: decide about the requests that it answers, and then about it.
    case answer(Answer)

    /// An answer as one of the two edges sees it.
    package struct Answer: Equatable, Sendable {
        /// The request that it answers.
        package let key: RequestKey
        /// The edge that sees it.
        package let edge: RequestEdge
        /// Whether it refuses the request, which a firewall can do in the pod's name.
        package let isReset: Bool
        /// The name under which the request is held if its backend was not known when it came.
        package var unknownKey: RequestKey?
        /// Whether this node's firewall has made it up: the call never left this node.
        package var isFromFirewall = false
    }
}

extension RequestPart {
    /// Times that hold for both edges, by which they come to opposite decisions.
    package enum Limits {
        /// The longest time from a request to its answer, by the time stamps of the packets.
        ///
        /// Real services answer a request within milliseconds, even across continents.
        package static let answerTime = Duration.milliseconds(500)
        /// The time for which a request is held, by the forwarder's clock.
        ///
        /// The answer may wait in a ring for some milliseconds after it has passed.
        package static let holdTime = Duration.milliseconds(600)
    }

    /// The part of a packet between two pods, in the form that both edges know.
    ///
    /// - Parameters:
    ///   - opening: What the packet asks or answers.
    ///   - flow: The flow in the packet's own direction.
    ///   - isFromObservedEnd: Whether the observed end has sent it.
    ///   - direction: The direction at this edge.
    init?(
        _ opening: Opening?, of flow: FlowKey, isFromObservedEnd: Bool, direction: Direction
    ) {
        guard let opening else { return nil }
        if isFromObservedEnd {
            guard opening.isAnswer else { return nil }
            self = .answer(
                Answer(
                    key: RequestKey(flow.reversed, sequence: opening.sequence),
                    edge: direction == .fromPod ? .observedEnd : .sender,
                    isReset: opening == .reset))
        } else {
            guard opening.isRequest else { return nil }
            self = .request(
                RequestKey(flow, sequence: opening.sequence),
                at: direction == .fromPod ? .sender : .observedEnd)
        }
    }
}
