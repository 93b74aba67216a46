import Forwarding
import Linux
import Metrics
import Synchronization

/// What is known of one sensor, or of all clients together: whether it is there, and what it has been
/// sent in all its sessions.
package final class PeerStatus: Sendable {
    /// As settings have it: `host:port`; or `clients`.
    package let name: String
    /// Sessions that have begun: each after a sensor's first is a reconnection.
    let sessionsBegun = Counter()
    /// Sessions that there are.
    let sessions = Gauge()
    /// Connections to it that could not be made.
    let connectionsFailed = Counter()
    let edgeMetrics = EdgeMetrics()
    private let state = Mutex(State())

    /// The name that clients go by, together: there may be any number of them in the course of time.
    static let clients = "clients"

    private struct State {
        /// Those that run.
        var captures: [LiveCapture] = []
        /// What those have counted that have ended.
        var finished = CaptureCounts()
        /// How it is while it has no session.
        var absence = "is being dialled"
    }

    package init(_ name: String) { self.name = name }

    func sessionBegins() {
        sessionsBegun.add()
        sessions.add(1)
    }

    func sessionEnds(_ reason: String) {
        sessions.add(-1)
        state.withLock { $0.absence = "has no session: \(reason)" }
    }

    func connectionFails(_ reason: String) {
        connectionsFailed.add()
        state.withLock { $0.absence = "is not reached: \(reason)" }
    }

    func begins(_ capture: LiveCapture) { state.withLock { $0.captures.append(capture) } }

    /// Takes over what a capture has counted, which has finished.
    func ends(_ capture: LiveCapture) {
        state.withLock { state in
            state.captures.removeAll { $0 === capture }
            state.finished += capture.counters.counts
        }
    }

    /// Takes over what a capture has counted that could not be started.
    func add(_ counters: CaptureCounters) {
        state.withLock { $0.finished += counters.counts }
    }

    /// The captures that run.
    var captures: [LiveCapture] { state.withLock { $0.captures } }

    /// What all captures have counted since the agent began; never less than before.
    var totals: CaptureCounts {
        state.withLock { state in
            var totals = state.finished
            for capture in state.captures { totals += capture.counters.counts }
            return totals
        }
    }

    /// What has become of the frames of each edge, likewise.
    var edges: (edges: [UInt64: EdgeCounts], gone: FrameCounts) {
        state.withLock { edgeMetrics.counts(with: $0.captures.map(\.counters)) }
    }

    /// How things are, as the end of a sentence about it.
    var standing: String {
        let (captureCount, absence) = state.withLock { ($0.captures.count, $0.absence) }
        if captureCount > 0 { return "captures" }
        return sessions.value > 0
            ? "is connected, but has not asked for packets (STARTCAP)" : absence
    }
}
