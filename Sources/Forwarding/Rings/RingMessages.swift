import Edges
import Linux
import Observation
import PacketRing

/// What the ring manager of a capture tells the forwarder.
enum RingCommand: Sendable {
    /// Read this ring; it has been opened for an edge with this program.
    case add(Edge, TransferBox<Ring>, EdgeProgram)
    /// The node is like this now.
    case follow(NodePublisher.Snapshot)
    /// Read this ring for edges that have none of their own.
    case openShared(TransferBox<Ring>)
    /// These edges share the ring.
    case share([Edge])
    /// The edge is gone: forward what its ring holds, and let go of it.
    case remove(incarnation: UInt64)
    /// The capture's only edge is gone, and does not come back.
    case endWithEdge
    /// Replace the edge's ring.
    case replace(incarnation: UInt64, RingReplacement.Command)
}

/// Why a ring should be larger.
package enum RingPressure: Sendable {
    /// It is close to full, or may soon be.
    case fill
    /// Its blocks come so often that larger ones are worth it, which a large ring has.
    case rate
}

/// What others tell the ring manager of a capture.
enum RingMessage: Sendable {
    /// The edge's ring should be larger.
    case pressed(incarnation: UInt64, RingPressure)
    /// A block has cut a packet of this length, the longest of the edge's so far.
    case cut(incarnation: UInt64, byteCount: Int)
    /// This pace is right for the edge's ring.
    case pace(RingPace, incarnation: UInt64)
    /// The forwarder has let go of the last ring of an edge that is gone.
    case closed(incarnation: UInt64, TransferBox<Ring>?)
    /// A step in the replacement of the edge's ring.
    case replacement(incarnation: UInt64, RingReplacement.Event)
    /// Open rings for sessions that want these forms from now on.
    case views(ViewForm, [ViewForm])
    /// The capture ends: close all rings.
    case end

    /// The edge under pressure, if the message says that; of several such messages one is enough.
    var pressedIncarnation: UInt64? {
        switch self {
        case .pressed(let incarnation, _): incarnation
        case .cut, .pace, .closed, .replacement, .views, .end: nil
        }
    }
}
