import Addressing
import Forwarding
import Packets
import RPCAP
import Synchronization
import Testing

@Suite("The counters of a capture")
struct CaptureCountersTests {
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
