/// How long to wait before a peer is dialled again: a second at first, then twice as long each time,
/// half a minute at most, and never quite the same, or all nodes of a cluster would come at once.
package struct Backoff: Sendable {
    private var nanoseconds = Self.nanosecondsMin

    package static let nanosecondsMin: UInt64 = 1_000_000_000
    package static let nanosecondsMax: UInt64 = 30_000_000_000

    package init() {}

    /// Nanoseconds to wait now: at least half of what it is at.
    package mutating func next() -> UInt64 {
        let wait = UInt64.random(in: nanoseconds / 2...nanoseconds)
        nanoseconds = min(nanoseconds * 2, Self.nanosecondsMax)
        return wait
    }

    /// The peer was there: the next failure is a new one.
    package mutating func reset() { nanoseconds = Self.nanosecondsMin }
}
