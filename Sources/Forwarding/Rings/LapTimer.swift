package import Time

/// A timer of a reader's laps around its ring; a lap is as many blocks as the ring has.
///
/// A ring that wraps within some milliseconds overflows as soon as its reader is descheduled for as
/// long. Growing takes 40 ms, so grow before that happens. A larger ring also has larger blocks, which
/// cost the reader and the pods less.
package struct LapTimer {
    private let blockCount: Int
    private var readCount = 0
    private var beganAt = MonotonicTime.zero
    /// The time below which a lap is fast.
    private let fastMax: Duration
    /// Whether the last lap was fast.
    package private(set) var isFast = false

    /// Six times the time that a thread may wait where there are more threads than processors.
    private static let fastMax = Duration.milliseconds(20)
    /// The time for each block from which on a lap is not fast.
    ///
    /// Blocks that the kernel hands over because of their age take 20 ms each, but a reader that is late
    /// for one of them sees less.
    private static let fastMaxPerBlock = Duration.milliseconds(7)

    /// The time below which a lap is busy.
    private let busyMax: Duration
    /// Whether the last lap had blocks so often that fewer and larger ones are worth it.
    package private(set) var isBusy = false

    /// The time for each block below which larger ones are worth it.
    ///
    /// A turn takes some 10 to 25 microseconds beside what its packets take: 1 % of a core at this rate.
    private static let busyMaxPerBlock = Duration.milliseconds(3)

    /// Starts the first lap, which is never fast nor busy.
    ///
    /// - Parameters:
    ///   - blockCount: The number of blocks.
    ///   - hasLargeBlocks: Whether no ring has larger blocks.
    package init(blockCount: Int, hasLargeBlocks: Bool = false) {
        self.blockCount = blockCount
        busyMax = hasLargeBlocks ? .zero : Self.busyMaxPerBlock * blockCount
        fastMax = min(Self.fastMax, Self.fastMaxPerBlock * blockCount)
    }

    /// Counts a block that has been read.
    package mutating func recordBlock(now: MonotonicTime) {
        readCount += 1
        guard readCount >= blockCount else { return }
        isFast = now < beganAt + fastMax
        isBusy = now < beganAt + busyMax
        (beganAt, readCount) = (now, 0)
    }
}
