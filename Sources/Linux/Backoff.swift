import Time

/// The delay before a peer is dialled again: exponential, capped, and with jitter.
///
/// It starts at a second and doubles with every failure up to half a minute. The jitter keeps the
/// nodes of a cluster from dialling a sensor all at once.
package struct Backoff: Sendable {
    private var delay = Self.delayMin

    /// The longest delay after the first failure.
    package static let delayMin = Duration.seconds(1)
    /// The longest delay after many failures.
    package static let delayMax = Duration.seconds(30)

    /// Creates a backoff that has seen no failure.
    package init() {}

    /// Takes the delay to wait now, which is random between half and all of the current one.
    package mutating func next() -> Duration {
        let nanoseconds = delay.clampedNanoseconds
        delay = min(delay * 2, Self.delayMax)
        return .nanoseconds(Int64.random(in: nanoseconds / 2...nanoseconds))
    }

    /// Starts over, since the peer was reached.
    package mutating func reset() { delay = Self.delayMin }
}
