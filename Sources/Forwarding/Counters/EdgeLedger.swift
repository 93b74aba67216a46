import Addressing
import Synchronization

/// What has become of the frames of each edge, over all captures of one sensor: an account ends with its
/// capture, or with its edge, and the edge's figures go on.
package final class EdgeLedger: Sendable {
    private let state = Mutex(State())

    private struct State {
        /// By the lives of edges: what their closed accounts came to.
        var closed: [UInt64: EdgeFigures] = [:]
        /// The same of edges that are no more, together.
        var gone = FrameAccount.Counts()
    }

    package init() {}

    /// Takes an account out of a capture's, for good.
    func close(_ life: UInt64, in counters: CaptureCounters) {
        state.withLock { state in
            let account = counters.edges.withLock { $0.removeValue(forKey: life) }
            guard let account else { return }
            state.closed[life, default: EdgeFigures(account.name)].frames += account.frames.counts
        }
    }

    /// Forgets the names of edges that are no more.
    package func keep(_ lives: Set<UInt64>) {
        state.withLock { state in
            for (life, figures) in state.closed where !lives.contains(life) && life != Crowd.life {
                state.gone += figures.frames
                state.closed[life] = nil
            }
        }
    }

    /// What has become of the frames of each edge, by its life, and of those that are no more. The
    /// captures are those that run.
    package func figures(_ captures: [CaptureCounters]) -> (
        edges: [UInt64: EdgeFigures], gone: FrameAccount.Counts
    ) {
        state.withLock { state in
            var edges = state.closed
            for counters in captures {
                for (life, account) in counters.edges.withLock({ $0 }) {
                    edges[life, default: EdgeFigures(account.name)].frames += account.frames.counts
                }
            }
            return (edges, state.gone)
        }
    }
}

/// What has become of an edge's frames.
package struct EdgeFigures: Sendable {
    /// The interface's, as it was when the edge was first captured.
    package let name: String
    package var frames = FrameAccount.Counts()

    init(_ name: String) { self.name = name }
}
