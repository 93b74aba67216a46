import Addressing
import CaptureFiles
import Collector
import RPCAP
import Testing
import Time

@Suite("The counters of a source")
struct SourceCountersTests {
    private let counters = SourceCounters(name: "lo@h", description: "", linkType: 1, start: 0)
    private let begin = MonotonicTime.zero + .seconds(100)

    private func add(_ count: Int) {
        for _ in 0..<count { counters.add([1, 2, 3].wire) }
    }

    @Test("average over the time of all captures, and over no other")
    func rate() {
        counters.begin(now: begin)
        add(100)
        #expect(counters.statistics(now: begin + .seconds(2)).packetsPerSecond == 50)
        counters.end(.gone, now: begin + .seconds(4))
        let later = counters.statistics(now: begin + .seconds(1000))
        #expect(later.packetsPerSecond == 25 && later.state == "gone" && later.byteCount == 300)
        counters.begin(now: begin + .seconds(1000))
        add(100)
        let again = counters.statistics(now: begin + .seconds(1004))
        #expect(again.packetsPerSecond == 25 && again.packetCount == 200)
        #expect(again.state == "capturing")
    }

    @Test("go on where an agent's counts modulo 2^32 begin again")
    func wrapping() {
        let reports: [UInt32] = [0x7fff_fff0, 0xffff_ffe0, 0x10]
        var last = CaptureStatistics()
        for received in reports {
            let report = CaptureStatistics(received: received, droppedByKernel: received)
            counters.add(report, since: last)
            last = report
        }
        #expect(counters.statistics(now: begin).droppedCount == 0x1_0000_0010)
        #expect(counters.countsInFile.received == 0x1_0000_0010)
        #expect(counters.countsInFile.delivered == 0)
        counters.beginFile()
        #expect(counters.countsInFile.received == 0)
    }

    @Test("take a count that goes back for one that begins again")
    func restarts() {
        let reports: [UInt32] = [5000, 10, 30, 0x9000_0000, 0x8fff_0000]
        var last = CaptureStatistics()
        for dropped in reports {
            let report = CaptureStatistics(received: 1, droppedByKernel: dropped)
            counters.add(report, since: last)
            last = report
        }
        #expect(counters.statistics(now: begin).droppedCount == 5000 + 20)
    }

    @Test("take back a loss when the packet comes late")
    func late() {
        var lost = DatagramReader.Counts()
        lost.lostPackets = 2
        counters.add(lost, since: DatagramReader.Counts())
        var found = lost
        found.lostPackets = 1
        counters.add(found, since: lost)
        #expect(counters.statistics(now: begin).lostPacketCount == 1)
    }
}
