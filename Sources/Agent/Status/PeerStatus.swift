import Forwarding
import Linux
import Metrics
import Synchronization

/// The state of one sensor, or of all clients together: its sessions, and what it was sent in them.
package final class PeerStatus: Sendable {
    /// The name in the settings, `host:port`; or `clients`.
    package let name: String
    /// Sessions begun: each after a sensor's first is a reconnect.
    let sessionsBegun = Counter()
    /// Sessions that are open.
    let sessions = Gauge()
    /// Connections that failed.
    let connectionsFailed = Counter()
    /// Whether the node is to feed it, as far as it can be reached: not while it feeds one that it prefers.
    let isWanted = Flag(true)
    /// Whether its name is being looked up, which nothing can end, while nothing is captured for it.
    let isSought = Flag(false)
    /// The frames of each edge, over all captures.
    let edgeMetrics = EdgeMetrics()
    private let state = Mutex(State())

    /// The name of all clients together: over time there may be any number of them.
    static let clients = "clients"

    private struct State {
        /// The captures that run.
        var captures: [LiveCapture] = []
        /// The counts of captures that ended.
        var finished = CaptureCounts()
        /// The state while there is no session.
        var absence = "dialling"
        /// What keeps packets from arriving though they are sent; nil for nothing that is known.
        var trouble: String?
    }

    /// Creates the state of a peer that was not there yet.
    package init(_ name: String) { self.name = name }

    /// Records that a session began.
    func beginSession() {
        sessionsBegun.add()
        sessions.add(1)
    }

    /// Records that a session ended.
    func endSession(_ reason: String) {
        sessions.add(-1)
        state.withLock { ($0.absence, $0.trouble) = ("no session: \(reason)", nil) }
    }

    /// Records what keeps packets from arriving though they are sent; nil if nothing does any more.
    func setTrouble(_ trouble: String?) { state.withLock { $0.trouble = trouble } }

    /// Records that a connection failed.
    func recordConnectFailure(_ reason: String) {
        connectionsFailed.add()
        state.withLock { $0.absence = "not reached: \(reason)" }
    }

    /// Records why it is not served.
    func rest(_ reason: String) { state.withLock { $0.absence = "not dialled: \(reason)" } }

    /// Adds a capture, which runs from now on.
    func add(_ capture: LiveCapture) { state.withLock { $0.captures.append(capture) } }

    /// Removes a capture that ended, and keeps its counts.
    func remove(_ capture: LiveCapture) {
        state.withLock { state in
            state.captures.removeAll { $0 === capture }
            state.finished += capture.counters.counts
        }
    }

    /// Adds the counts of a capture that could not be started.
    func add(_ counts: CaptureCounts) { state.withLock { $0.finished += counts } }

    /// The captures that run.
    var captures: [LiveCapture] { state.withLock { $0.captures } }

    /// The counts of all captures since the agent started; never less than before.
    var totals: CaptureCounts {
        state.withLock { state in
            var totals = state.finished
            for capture in state.captures { totals += capture.counters.counts }
            return totals
        }
    }

    /// The frames of each edge since the agent started, and of all edges that are gone.
    var edges: (edges: [UInt64: EdgeCounts], gone: FrameCounts) {
        state.withLock { edgeMetrics.counts(with: $0.captures.map(\.counters)) }
    }

    /// Whether packets can reach the peer, as far as that is known.
    var isServed: Bool { state.withLock { !$0.captures.isEmpty && $0.trouble == nil } }

    /// The state in words, for a line that begins with the name.
    var summary: String {
        let (captureCount, absence, trouble) = state.withLock {
            ($0.captures.count, $0.absence, $0.trouble)
        }
        if captureCount > 0 { return trouble.map { "capturing, but \($0)" } ?? "capturing" }
        return sessions.value > 0
            ? "connected, but has not asked for packets (STARTCAP), or was refused: see the log"
            : absence
    }
}
