import Forwarding
import FuzzSupport
import Testing

@Suite("The progress of sending")
struct SendProgressTests {
    private static func count(_ packetCount: Int) -> SendProgress.Count {
        SendProgress.Count(byteCount: UInt64(100 * packetCount), packetCount: UInt64(packetCount))
    }

    @Test("is exact whenever nothing waits")
    func exact() {
        var progress = SendProgress(queueByteCountMax: 1 << 20)
        progress.record(Self.count(5), unsentByteCount: 0)
        #expect(progress.sent == Self.count(5))
        progress.record(Self.count(9), unsentByteCount: 400)
        #expect(progress.sent == Self.count(5))
        progress.record(Self.count(9), unsentByteCount: 0)
        #expect(progress.sent == Self.count(9) && progress.checkpointCount == 0)
    }

    @Test("counts what was queued before a moment when all of that has been sent")
    func checkpoints() {
        var progress = SendProgress(queueByteCountMax: 128)
        for queued in [10, 20, 30] {
            progress.record(Self.count(queued), unsentByteCount: 100 * queued)
        }
        let table = [(2001, 0), (2000, 10), (1999, 10), (1001, 10), (1000, 20), (1, 20), (0, 30)]
        for (unsent, sent) in table {
            progress.record(Self.count(30), unsentByteCount: unsent)
            #expect(progress.sent == Self.count(sent))
        }
    }

    @Test(
        "is never too high, never goes back, and is little behind",
        arguments: 1...5 as ClosedRange<UInt64>)
    func bounds(seed: UInt64) {
        var generator = RandomNumbers(seed)
        let queueByteCountMax = 100_000
        var progress = SendProgress(queueByteCountMax: queueByteCountMax)
        var (queued, sentByteCount, last) = (0, 0, UInt64(0))
        for _ in 0..<5000 {
            let room = queueByteCountMax - (100 * queued - sentByteCount)
            let burst = Int.random(in: 0...min(10, room / 100), using: &generator)
            queued += burst
            let waiting = 100 * queued - sentByteCount
            // Mostly slower than packets come, so that the queue is nearly full.
            sentByteCount += min(waiting, Int.random(in: 0...600, using: &generator))
            progress.record(Self.count(queued), unsentByteCount: 100 * queued - sentByteCount)
            let sent = progress.sent
            #expect(sent.packetCount >= last && 100 * sent.packetCount <= sentByteCount)
            // Two spacings, and what one moment added.
            #expect(UInt64(sentByteCount) - sent.byteCount <= 2 * 782 + 2 * 1000)
            #expect(progress.checkpointCount <= 130)
            last = sent.packetCount
        }
    }
}
