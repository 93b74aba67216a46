import Addressing
package import Edges
import Observation
import Packets

/// The edge at which a file was recorded, inferred from the MAC addresses of its frames.
///
/// A frame between two pods of a node passes both their edges, and does not say at which it was recorded.
/// But the file does: each frame that passes an edge has an address of its pod, and only a conversation
/// of just two pods has those of two edges throughout.
package struct EdgeInference {
    private let edges: [Edge]
    /// The edges that all frames so far have in common; nil before the first frame that has one.
    private var common: [Edge]?

    /// Begins with the edges of a node, and without frames.
    package init(_ edges: [Edge]) { self.edges = edges }

    /// Adds a frame of the file.
    package mutating func add(_ frame: [UInt8]) {
        guard !isVain, frame.count >= EthernetHeader.byteCount else { return }
        let destination = MACAddress(frame.wire, at: 0)
        let source = MACAddress(frame.wire, at: 6)
        // A bridge floods what goes to a group, also to edges that the frame does not name.
        guard !destination.isGroup else { return }
        let isNamed = { (edge: Edge) in edge.point.has(source) || edge.point.has(destination) }
        let rest = (common ?? edges).filter(isNamed)
        // A frame that names no edge at all says nothing.
        if !rest.isEmpty || common != nil && edges.contains(where: isNamed) { common = rest }
    }

    /// Whether the frames so far are of no single edge, whatever follows.
    package var isVain: Bool { common?.isEmpty ?? false }

    /// The edge; nil if the frames are of several, or could be of two.
    package var edge: Edge? { common?.count == 1 ? common?.first : nil }
}
