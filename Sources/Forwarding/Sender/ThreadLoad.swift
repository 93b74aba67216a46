package import Time

/// The CPU use of threads, sampled from time to time.
package struct ThreadLoad: Sendable {
    private var sampledAt: MonotonicTime?
    private var busyBefore = Duration.zero

    /// Creates a load without a sample.
    package init() {}

    /// CPU use since the last sample in percent, or nil if less than `interval` has passed.
    ///
    /// - Parameters:
    ///   - interval: The least time between two samples.
    ///   - now: The time.
    ///   - busy: The CPU time of the threads; asked for only if it is time for a sample.
    /// - Returns: The CPU use, which is nil for the first sample too.
    package mutating func percent(
        over interval: Duration, now: MonotonicTime, busy: @autoclosure () -> Duration
    ) -> Int? {
        guard let sampledAt else {
            (self.sampledAt, busyBefore) = (now, busy())
            return nil
        }
        let window = now - sampledAt
        guard window >= interval else { return nil }
        let busy = busy()
        // The time of a thread that has ended is missing, which must not count as negative.
        let difference = max(busy - busyBefore, .zero)
        (self.sampledAt, busyBefore) = (now, busy)
        return Int(difference.clampedNanoseconds * 100 / window.clampedNanoseconds)
    }
}
