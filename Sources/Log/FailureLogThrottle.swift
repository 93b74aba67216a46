package import Logging
package import Time

/// A throttle for the log lines of a failure that repeats while something is tried again.
///
/// The log has the first failure, and then now and then the number of failures since.
package struct FailureLogThrottle: Sendable {
    private var count = 0
    private var begin = MonotonicTime.zero
    private var lastLine = MonotonicTime.zero
    private var reasons: Set<String> = []

    /// The interval between lines while a failure goes on.
    package static let interval = Duration.seconds(300)
    /// The most reasons that are logged as soon as they occur.
    ///
    /// A name that leads to another machine each time must not cause a line for each try.
    private static let reasonCountMax = 8

    /// A throttle that has seen no failure.
    package init() {}

    /// Whether the last try has failed.
    package var isFailing: Bool { count > 0 }

    /// The number of failures since the last success.
    package var failureCount: Int { count }

    /// Records a failure.
    ///
    /// - Returns: The metadata of the line to log, or nil if none should be.
    package mutating func recordFailure(
        _ reason: String, now: MonotonicTime
    ) -> Logger.Metadata? {
        if count == 0 { begin = now }
        count += 1
        let isNews = reasons.count < Self.reasonCountMax && reasons.insert(reason).inserted
        guard isNews || now >= lastLine + Self.interval else { return nil }
        lastLine = now
        guard count > 1 else { return ["reason": "\(reason)"] }
        return [
            "reason": "\(reason)", "failures": .number(count),
            "since_seconds": .number((now - begin).components.seconds),
        ]
    }

    /// Records a success.
    ///
    /// - Returns: The number of failures before it, for the line that reports the success.
    package mutating func recordSuccess() -> Int {
        defer { self = FailureLogThrottle() }
        return count
    }
}
