import Time

/// The delay before a peer is dialled again: exponential, capped, and with jitter.
///
/// It starts at a second and doubles with every failure, up to 10 s for the first five minutes or so
/// and then up to half a minute. A person who restarts a sensor waits for its agents, and a sensor that
/// is down for hours should cost little: a thousand nodes then make 44 tries in a second, and 133 at
/// first, each perhaps with a lookup of the sensor's name. The jitter keeps them from dialling all at
/// once.
package struct Backoff: Sendable {
    private var delay = Self.delayMin
    private var tryCount = 0

    /// The longest delay after the first failure.
    package static let delayMin = Duration.seconds(1)
    /// The longest delay for the first tries, and how many these are.
    package static let firstDelayMax = Duration.seconds(10)
    package static let firstTryCount = 40
    /// The longest delay after many failures.
    package static let delayMax = Duration.seconds(30)

    /// Creates a backoff that has seen no failure.
    package init() {}

    /// Takes the delay to wait now, which is random between half and all of the current one.
    package mutating func next() -> Duration {
        let nanoseconds = delay.clampedNanoseconds
        tryCount += 1
        let isFirst = tryCount < Self.firstTryCount
        delay = min(delay * 2, isFirst ? Self.firstDelayMax : Self.delayMax)
        return .nanoseconds(Int64.random(in: nanoseconds / 2...nanoseconds))
    }

    /// Starts over, since the peer was reached.
    package mutating func reset() { self = Backoff() }
}
