package import Logging
package import Time

/// A throttle for the log lines of one peer with which sessions begin again and again.
///
/// A session has worked if its capture ran for 10 s or was ended in order. What ends it then is news.
/// All others are failures, of which the log has the first, and then one line every five minutes.
package struct PeerLogThrottle: Sendable {
    /// Tries to connect.
    private var connections = FailureLogThrottle()
    private var sessions = FailureLogThrottle()
    private var notes = FailureLogThrottle()
    private var lastEnd = MonotonicTime.zero
    /// When a session that ran beside others may be logged again though its failure is no news.
    private var nextParallelLine = MonotonicTime.zero

    /// The time for which a capture has to run so that its session has worked.
    package static let goodTime = Duration.seconds(10)

    /// A throttle of a peer that has not been tried.
    package init() {}

    /// Whether the last session was a failure, so that lines about the next one are no news.
    package var isFailing: Bool { sessions.isFailing }

    /// The number of sessions that have failed since the last one that worked.
    package var failureCount: Int { sessions.failureCount }

    /// Records that the peer could not be reached.
    ///
    /// - Returns: The metadata of the line to log, or nil if none should be.
    package mutating func recordUnreached(
        _ reason: String, now: MonotonicTime
    ) -> Logger.Metadata? {
        connections.recordFailure(reason, now: now)
    }

    /// Records a connection.
    ///
    /// - Returns: The metadata of the line that says so, or nil if it is no news.
    package mutating func recordConnection() -> Logger.Metadata? {
        guard !isFailing else { return nil }
        let count = connections.recordSuccess()
        return count > 0 ? ["failures": .number(count)] : [:]
    }

    /// Records a session that was a failure.
    ///
    /// One that began before the last one had ended is no further try, so it is logged, but no more often
    /// than others: any number of sessions may run side by side.
    ///
    /// - Returns: The metadata of the line to log, or nil if none should be.
    package mutating func recordFailure(
        _ reason: String, since begin: MonotonicTime, now: MonotonicTime
    ) -> Logger.Metadata? {
        let isRetry = begin >= lastEnd
        lastEnd = now
        let metadata = sessions.recordFailure(reason, now: now)
        guard metadata == nil, !isRetry, now >= nextParallelLine else { return metadata }
        nextParallelLine = now + FailureLogThrottle.interval
        return ["reason": "\(reason)"]
    }

    /// Records that a session has worked.
    ///
    /// - Returns: The number of sessions that had failed before, for the line that says so.
    package mutating func recordSuccess() -> Int {
        _ = (connections.recordSuccess(), notes.recordSuccess())
        return sessions.recordSuccess()
    }

    /// Records a text about the peer, which each of its sessions may cause.
    ///
    /// - Returns: Whether it is to be logged.
    package mutating func recordNote(_ text: String, now: MonotonicTime) -> Bool {
        notes.recordFailure(text, now: now) != nil
    }
}
