/// How busy a thread is, looked at ten times a second at most.
package struct ThreadLoad: Sendable {
    private var since: UInt64 = 0
    private var busyNanosecondsBefore: UInt64 = 0

    private static let windowNanoseconds: UInt64 = 100_000_000

    /// A thread that runs for more of the time has none left for a burst.
    private static let fullPercent: UInt64 = 80

    package init() {}

    /// Whether the thread has been full since it was looked at before. It has run for so long by now,
    /// which is asked for only if it is time to look.
    package mutating func isFull(
        now: UInt64, busyNanoseconds: @autoclosure () -> UInt64
    ) -> Bool {
        let window = now - since
        guard window >= Self.windowNanoseconds else { return false }
        let busyNanoseconds = busyNanoseconds()
        let busy = busyNanoseconds - busyNanosecondsBefore
        (since, busyNanosecondsBefore) = (now, busyNanoseconds)
        return busy * 100 >= window * Self.fullPercent
    }
}
