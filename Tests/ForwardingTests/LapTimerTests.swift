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

    @Test("are fast if all blocks come within 6 ms, and the first one never is")
    func fast() {
        #expect(
            laps(8, microsecondsPerBlock: [1, 1, 700, 749, 750, 2000, 10]) == [
                false, true, true, true, false, false, true,
            ])
        #expect(laps(2, microsecondsPerBlock: [2900, 2900, 3100]) == [false, true, false])
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
