import Addressing
import Forwarding
import Packets
import RPCAP
import Synchronization
import Testing

@Suite("The counters of a capture")
struct CaptureCountersTests {
    @Test("have no frame with a fate that is not matched, though the kernel is asked later")
    func matched() {
        let frames = FrameCounters()
        frames.add(3, to: .forwarded)
        #expect(frames.counts.matched == 3 && frames.counts.imbalance == -3)
        frames.add(matched: 5)
        #expect(frames.counts.matched == 5 && frames.counts.imbalance == 2)
        var total = frames.counts
        total += frames.counts
        #expect(total.matched == 10 && total.accounted == 6)
    }

    @Test("give each request one fate in a session that comes later, or goes earlier, than others")
    func requestsOfSome() {
        let capture = CaptureCounters()
        let (early, late) = (CaptureCounters(), CaptureCounters())
        early.join(capture)
        capture.frames.record(.held, 5)
        capture.frames.record(.answered, 2)
        late.join(capture)
        capture.frames.record(.held)
        capture.frames.record(.unanswered, 2)
        early.leave(isEarly: true)
        capture.frames.record(.leftToSender)
        capture.frames.record(.answered)
        func found(_ counters: CaptureCounters) -> [UInt64] {
            [.held, .answered, .unanswered, .leftToSender, .undecided].map {
                counters.counts.frames[$0 as RequestMetric]
            }
        }
        #expect(found(capture) == [6, 3, 2, 1, 0])
        #expect(found(late) == [4, 1, 2, 1, 0])
        #expect(found(early) == [6, 2, 2, 0, 2])
    }

    @Test("report packets over the limit as received and as dropped")
    func limited() {
        let counters = CaptureCounters()
        counters.add(9, to: .packetsQueued)
        counters.add(7, to: .packetsSent)
        counters.add(5, to: .packetsLimited)
        counters.add(2, to: .packetsDroppedByQueue)
        let statistics = counters.counts.statistics
        #expect(statistics.received == 16 && statistics.sent == 7)
        #expect(statistics.droppedByKernel == 7)
    }
}
