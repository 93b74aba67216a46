package import BPF

/// The end of a pod's device pair at which its packets are captured.
package enum TapSide: String, Hashable, Sendable, CaseIterable {
    /// The host's end, in the node's network namespace.
    case host
    /// The pod's end, inside the pod's network namespace.
    case pod
}

/// The direction of a frame at a pod's edge.
///
/// The rule knows no other direction. What the kernel calls outgoing depends on the end of the pair at
/// which the frame was captured; only this file and `Packet.Details` know how the two belong together.
package enum Direction: Hashable, Sendable, CaseIterable {
    /// The pod sent the frame: it enters the node.
    case fromPod
    /// The frame goes to the pod: it leaves the node.
    case toPod

    /// Translates what the kernel says about a frame at one end of a pair.
    ///
    /// - Parameters:
    ///   - isOutgoing: Whether the packet type is `PACKET_OUTGOING`. At the host's end such frames go
    ///     to the pod, at the pod's end they come from it.
    ///   - side: The end.
    package init(isOutgoing: Bool, at side: TapSide = .host) {
        self = isOutgoing == (side == .host) ? .toPod : .fromPod
    }
}

extension Ancillary {
    /// Describes a frame of this direction, as the kernel does at one end of a pod's pair.
    ///
    /// A frame that comes in is `PACKET_HOST` here; the kernel has other types for frames to groups and
    /// to other MAC addresses.
    package init(_ direction: Direction, at side: TapSide = .host) {
        self.init()
        packetType = (direction == .toPod) == (side == .host) ? Self.outgoing : Self.toHost
    }
}
