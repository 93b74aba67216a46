package import Time

/// A timer of a reader's laps around its ring; a lap is as many blocks as the ring has.
///
/// A ring that wraps within a few milliseconds overflows as soon as its reader is descheduled.
/// Growing takes 40 ms, so grow before that happens.
package struct LapTimer {
    private let blockCount: Int
    private var readCount = 0
    private var beganAt = MonotonicTime.zero
    /// Whether the last lap took less than `fastMax`.
    package private(set) var isFast = false

    /// Twice the time that a thread may wait where there are more threads than processors.
    private static let fastMax = Duration.milliseconds(6)

    /// Starts the first lap, which is never fast.
    package init(blockCount: Int) { self.blockCount = blockCount }

    /// Counts a block that has been read.
    package mutating func recordBlock(now: MonotonicTime) {
        readCount += 1
        guard readCount >= blockCount else { return }
        isFast = now < beganAt + Self.fastMax
        (beganAt, readCount) = (now, 0)
    }
}
