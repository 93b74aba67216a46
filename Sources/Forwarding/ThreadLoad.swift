/// How busy threads are, looked at from time to time.
package struct ThreadLoad: Sendable {
    private var since: UInt64?
    private var busyNanosecondsBefore: UInt64 = 0

    package init() {}

    /// For how much of the time they have run since the last look, percent; nil if that was less long
    /// ago than this, or there was none. They have run for so long by now, which is asked for only if
    /// it is time to look.
    package mutating func percent(
        over nanoseconds: UInt64, now: UInt64, busyNanoseconds: @autoclosure () -> UInt64
    ) -> Int? {
        guard let since else {
            (self.since, busyNanosecondsBefore) = (now, busyNanoseconds())
            return nil
        }
        let window = now - since
        guard window >= nanoseconds else { return nil }
        let busyNanoseconds = busyNanoseconds()
        // Of a thread that has ended nobody knows any more.
        let busy = max(busyNanoseconds, busyNanosecondsBefore) - busyNanosecondsBefore
        (self.since, busyNanosecondsBefore) = (now, busyNanoseconds)
        return Int(busy * 100 / window)
    }
}
