import Forwarding
import Addressing
import Packets
import RPCAP
import Synchronization
import Testing

@Suite("The counters of a capture")
struct CaptureCountersTests {
    @Test("have one for each reason why a frame cannot be repaired")
    func obstacles() {
        let counters = CaptureCounters()
        #expect(counters.framesUnrepaired.count == WireForm.Obstacle.allCases.count)
        #expect(
            WireForm.Obstacle.allCases.map(\.rawValue) == Array(0..<counters.framesUnrepaired.count)
        )
    }

    @Test("report packets over the limit as received and as dropped")
    func limited() {
        let counters = CaptureCounters()
        counters.packetsQueued.store(7, ordering: .relaxed)
        counters.packetsLimited.store(5, ordering: .relaxed)
        counters.packetsDroppedByQueue.store(2, ordering: .relaxed)
        let statistics = counters.statistics
        #expect(statistics.received == 14 && statistics.sent == 7)
        #expect(statistics.droppedByKernel == 7)
    }
}
