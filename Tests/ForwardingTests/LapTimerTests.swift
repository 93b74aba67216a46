import Forwarding
import Testing
import Time

@Suite("The laps of a ring's reader")
struct LapTimerTests {
    /// Runs through a number of laps, each block taking the same time, and returns which were fast.
    private func laps(_ blockCount: Int, microsecondsPerBlock: [Int]) -> [Bool] {
        var timer = LapTimer(blockCount: blockCount)
        var now = MonotonicTime(nanoseconds: 50_000_000_000)
        return microsecondsPerBlock.map { microseconds in
            for _ in 0..<blockCount {
                now += .microseconds(microseconds)
                timer.recordBlock(now: now)
            }
            return timer.isFast
        }
    }

    @Test("are fast if all blocks come within 20 ms, and the first one never is")
    func fast() {
        #expect(
            laps(8, microsecondsPerBlock: [1, 1, 700, 2499, 2500, 7000, 10]) == [
                false, true, true, true, false, false, true,
            ])
    }

    @Test("of few blocks are not fast because the reader was late for a block that aged")
    func few() {
        #expect(
            laps(2, microsecondsPerBlock: [6900, 6900, 7000, 9000]) == [false, true, false, false])
        #expect(laps(3, microsecondsPerBlock: [6600, 6600, 6700]) == [false, true, false])
    }

    @Test("are busy if blocks come within 3 ms each, unless none can be larger")
    func busy() {
        for (hasLargeBlocks, microseconds, expected) in [
            (false, 2999, true), (false, 3000, false), (true, 1000, false),
        ] {
            var timer = LapTimer(blockCount: 32, hasLargeBlocks: hasLargeBlocks)
            var now = MonotonicTime(nanoseconds: 50_000_000_000)
            for _ in 0..<64 {
                #expect(!timer.isBusy)
                now += .microseconds(microseconds)
                timer.recordBlock(now: now)
            }
            #expect(timer.isBusy == expected)
        }
    }

    @Test("last until the last block of the ring")
    func within() {
        var timer = LapTimer(blockCount: 4)
        var now = MonotonicTime(nanoseconds: 50_000_000_000)
        for _ in 0..<7 {
            now += .microseconds(1)
            timer.recordBlock(now: now)
            #expect(!timer.isFast)
        }
        timer.recordBlock(now: now)
        #expect(timer.isFast)
    }
}
