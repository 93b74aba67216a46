package import Observation

/// An edge to capture at: a pod's device pair, of which one end is in the node's namespace.
package struct Edge: Equatable, Sendable {
    /// The incarnation of the interface; names and indexes are used again.
    package let incarnation: UInt64
    /// The interface's name.
    package let name: String
    /// Whether the interface is up.
    ///
    /// A ring cannot be opened on an interface that is down. An open one stays when it goes down.
    package let isUp: Bool
    /// The largest packet that passes the edge, by the settings of both ends of the veth pair.
    ///
    /// Without CAP_NET_ADMIN only those of the host's end are known.
    package let frameByteCountMax: Int
    /// What the rule needs to know of the edge.
    package private(set) var point: ObservationPoint
    /// Where the edge is to be captured.
    package let tap: EdgeTap

    /// An edge by its parts.
    package init(
        incarnation: UInt64, name: String, isUp: Bool, frameByteCountMax: Int = 0,
        point: ObservationPoint, tap: EdgeTap = .host
    ) {
        self.tap = tap
        self.frameByteCountMax = frameByteCountMax
        self.incarnation = incarnation
        self.name = name
        self.isUp = isUp
        self.point = point
    }

    /// The edge, captured at an end of its pair.
    package func captured(at side: TapSide) -> Self {
        var edge = self
        edge.point = point.captured(at: side)
        return edge
    }
}
