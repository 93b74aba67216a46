import Synchronization

/// Counts of the frames of each edge, over all captures of one peer.
///
/// When a capture or an edge ends, its counts stay.
package final class EdgeMetrics: Sendable {
    private let state = Mutex(State())

    private struct State {
        /// Counts of captures that ended, by the incarnations of edges.
        var closed: [UInt64: EdgeCounts] = [:]
        /// Counts of all edges that are gone, together.
        var gone = FrameCounts()
    }

    package init() {}

    /// Takes an edge's counters out of a session's, for good.
    ///
    /// - Parameters:
    ///   - incarnation: The edge.
    ///   - counters: The session's counters.
    ///   - isEarly: Whether the capture of the edge goes on without the session, which abandons the
    ///     frames that are still on their way.
    func close(_ incarnation: UInt64, in counters: CaptureCounters, isEarly: Bool = false) {
        state.withLock { state in
            let edge = counters.edges.withLock { $0.removeValue(forKey: incarnation) }
            guard let edge else { return }
            var counts = edge.counts
            if isEarly { counts.abandonRest() }
            state.closed[incarnation, default: EdgeCounts(edge.name)].frames += counts
        }
    }

    /// Forgets the names of edges that are gone.
    package func keep(_ incarnations: Set<UInt64>) {
        state.withLock { state in
            for (incarnation, edge) in state.closed where !incarnations.contains(incarnation) {
                state.gone += edge.frames
                state.closed[incarnation] = nil
            }
        }
    }

    /// Reads the counts of all edges, by their incarnations.
    ///
    /// - Parameter captures: The captures that run.
    /// - Returns: The counts of each edge, and those of edges that are gone together.
    package func counts(
        with captures: [CaptureCounters]
    ) -> (edges: [UInt64: EdgeCounts], gone: FrameCounts) {
        state.withLock { state in
            var edges = state.closed
            for counters in captures {
                for (incarnation, edge) in counters.edges.withLock({ $0 }) {
                    edges[incarnation, default: EdgeCounts(edge.name)].frames += edge.counts
                }
            }
            return (edges, state.gone)
        }
    }
}

/// Counters of an edge's frames in one session.
///
/// Edges that share a ring share them.
struct EdgeCounters: Sendable {
    /// The interface's name when the capture of the edge began.
    let name: String
    /// What the session counts itself.
    let own: FrameCounters
    /// What the capture counts for all of its sessions, and what that was when this one joined.
    let common: FrameCounters
    let base: FrameCounts

    /// Begins to count an edge for a session.
    init(name: String, own: FrameCounters, common: FrameCounters) {
        (self.name, self.own, self.common) = (name, own, common)
        base = common.counts
    }

    /// The counts since the session joined.
    var counts: FrameCounts { FrameCounts(own.counts, sharing: common.counts, since: base) }
}

/// Counts of an edge's frames at a moment.
package struct EdgeCounts: Sendable {
    /// The interface's name when the edge was first captured.
    package let name: String
    package fileprivate(set) var frames = FrameCounts()

    fileprivate init(_ name: String) { self.name = name }
}
