import Linux

/// How fast a ring goes round: as many blocks as it has are a round.
///
/// One that takes in all it holds within a few milliseconds is full as soon as the thread that reads
/// it waits for a processor. That is not waited for: until a larger one is there 40 ms pass.
struct LapTimer {
    private let blockCount: Int
    private var readCount = 0
    private var beganAt: UInt64 = 0
    /// Whether the last round took less than the least time.
    private(set) var isFast = false

    /// Twice as long as a thread may have to wait where there are more than processors.
    private static let nanosecondsMin: UInt64 = 6_000_000

    init(blockCount: Int) { self.blockCount = blockCount }

    /// Takes note of a block. The clock is asked once a round.
    mutating func hasRead() {
        readCount += 1
        guard readCount >= blockCount else { return }
        let now = monotonicNanoseconds()
        isFast = now < beganAt + Self.nanosecondsMin
        (beganAt, readCount) = (now, 0)
    }
}
