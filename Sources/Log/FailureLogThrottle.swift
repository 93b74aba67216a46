package import Logging

/// A failure that happens again and again while one tries: the log has its beginning, and then now and
/// then how often it has happened since.
package struct Recurrence: Sendable {
    private var count = 0
    private var beganAt: UInt64 = 0
    private var toldAt: UInt64 = 0
    private var reasons: Set<String> = []

    /// How often the log is told of what goes on.
    package static let nanosecondsMin: UInt64 = 300_000_000_000
    /// So many reasons are told as soon as they are met: a name that leads to another machine each
    /// time must not have one line for each try.
    private static let reasonCountMax = 8

    package init() {}

    package var isGoingOn: Bool { count > 0 }

    /// Takes note of a failure, and answers what the log is to say of it; nil for nothing.
    package mutating func failed(_ reason: String, now: UInt64) -> Logger.Metadata? {
        if count == 0 { beganAt = now }
        count += 1
        let isNews = reasons.count < Self.reasonCountMax && reasons.insert(reason).inserted
        guard isNews || now >= toldAt + Self.nanosecondsMin else { return nil }
        toldAt = now
        guard count > 1 else { return ["reason": "\(reason)"] }
        return [
            "reason": "\(reason)", "failures": .number(count),
            "since_seconds": .number((now - beganAt) / 1_000_000_000),
        ]
    }

    /// It is over. Answers how often it has failed, for the line that says so.
    package mutating func end() -> Int {
        defer { self = Recurrence() }
        return count
    }
}
