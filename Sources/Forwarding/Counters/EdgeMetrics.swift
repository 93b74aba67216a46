import Addressing
import Synchronization

/// What has become of the frames of each edge, over all captures of one sensor: an account ends with its
/// capture, or with its edge, and the edge's figures go on.
package final class EdgeMetrics: Sendable {
    private let state = Mutex(State())

    private struct State {
        /// By the incarnations of edges: what their closed accounts came to.
        var closed: [UInt64: EdgeCounts] = [:]
        /// The same of edges that are no more, together.
        var gone = FrameCounters.Counts()
    }

    package init() {}

    /// Takes an account out of a capture's, for good.
    func close(_ incarnation: UInt64, in counters: CaptureCounters) {
        state.withLock { state in
            let account = counters.edges.withLock { $0.removeValue(forKey: incarnation) }
            guard let account else { return }
            state.closed[incarnation, default: EdgeCounts(account.name)].frames += account.frames.counts
        }
    }

    /// Forgets the names of edges that are no more.
    package func keep(_ incarnations: Set<UInt64>) {
        state.withLock { state in
            for (incarnation, figures) in state.closed where !incarnations.contains(incarnation) && incarnation != SharedRing.incarnation {
                state.gone += figures.frames
                state.closed[incarnation] = nil
            }
        }
    }

    /// What has become of the frames of each edge, by its incarnation, and of those that are no more. The
    /// captures are those that run.
    package func figures(_ captures: [CaptureCounters]) -> (
        edges: [UInt64: EdgeCounts], gone: FrameCounters.Counts
    ) {
        state.withLock { state in
            var edges = state.closed
            for counters in captures {
                for (incarnation, account) in counters.edges.withLock({ $0 }) {
                    edges[incarnation, default: EdgeCounts(account.name)].frames += account.frames.counts
                }
            }
            return (edges, state.gone)
        }
    }
}

/// What has become of an edge's frames.
package struct EdgeCounts: Sendable {
    /// The interface's, as it was when the edge was first captured.
    package let name: String
    package var frames = FrameCounters.Counts()

    init(_ name: String) { self.name = name }
}
