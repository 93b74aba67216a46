package import BPF

/// The direction of a frame at a pod's edge.
///
/// The rule knows no other direction. What the kernel calls outgoing depends on the end of the veth
/// pair at which the frame was captured; only this file knows how the two belong together.
package enum Direction: Hashable, Sendable, CaseIterable {
    /// The pod sent the frame: it enters the node.
    case fromPod
    /// The frame goes to the pod: it leaves the node.
    case toPod

    /// Translates what the kernel says about a frame at the host's end of a veth pair.
    ///
    /// - Parameter isOutgoing: whether the packet type is `PACKET_OUTGOING`. All other types are of
    ///   frames that come from the pod.
    package init(isOutgoing: Bool) {
        self = isOutgoing ? .toPod : .fromPod
    }
}

extension Ancillary {
    /// Describes a frame of this direction, as the kernel does at the host's end of a veth pair.
    package init(_ direction: Direction) {
        self.init()
        packetType = direction == .toPod ? Self.outgoing : 0
    }
}
