/// How long to wait before an agent is dialled again: a second at first, then twice as long each
/// time, half a minute at most, and never quite the same.
struct Backoff {
    private var nanoseconds = Self.nanosecondsMin

    static let nanosecondsMin: UInt64 = 1_000_000_000
    static let nanosecondsMax: UInt64 = 30_000_000_000

    /// Nanoseconds to wait now: at least half of what it is at.
    mutating func next() -> UInt64 {
        let wait = UInt64.random(in: nanoseconds / 2...nanoseconds)
        nanoseconds = min(nanoseconds * 2, Self.nanosecondsMax)
        return wait
    }

    /// The agent was there: the next failure is a new one.
    mutating func reset() { nanoseconds = Self.nanosecondsMin }
}
