import Linux
import Log
package import Time

/// A dialer of one source, which dials again when the source is gone.
///
/// It never waits: the collector's poll loop does, for its descriptor and until its deadline.
package final class SourceDialer {
    let source: Source
    /// The session with the source, while there is one.
    private(set) var link: AgentLink?
    /// The throttle of the log lines about the source.
    var lines = PeerLogThrottle()
    /// The counters of its last capture; nil if it has not captured yet.
    private(set) var counters: SourceCounters?
    /// Why it is not captured from; nil if the last session captured.
    package private(set) var reason: String?
    private let dialer: Dialer

    package init(_ source: Source) {
        self.source = source
        dialer = Dialer(host: source.host, port: source.port)
    }

    /// When to call `advance` even if nothing is ready; nil for never.
    package var deadline: MonotonicTime? { dialer.deadline }

    /// The descriptor for a poll set, with its interest; -1 if there is nothing to wait for but time.
    var request: (fileDescriptor: CInt, interest: Readiness) {
        (dialer.fileDescriptor, dialer.interest)
    }

    /// The state in a few words for people.
    package func state(now: MonotonicTime) -> String { dialer.state(now: now) }

    /// Does what can be done now.
    ///
    /// Never waits.
    package func advance(isReady: Bool, now: MonotonicTime) -> Dialer.Outcome {
        switch dialer.advance(isReady: isReady, now: now) {
        case .none: return .none
        case .connected(let connection): return .connected(connection)
        case .failed(let failure):
            reason = "\(failure)"
            return .failed(failure)
        }
    }

    /// Records the session over the last connection.
    func begin(_ link: AgentLink) {
        self.link = link
    }

    /// Records the end of the session, and schedules the next try.
    ///
    /// With `pause` that is after this time at least.
    package func end(now: MonotonicTime, pause: Duration = .zero) {
        dialer.end(connectedAt: link?.connectedAt, now: now, pause: pause)
        counters = link?.counters ?? counters
        reason = link?.endReason
        link = nil
    }
}
