import Addressing
import Forwarding
import Packets
import Testing

@Suite("The metrics of a capture")
struct CaptureMetricTests {
    @Test("are told apart by their names and reasons, and those of one name are neighbours")
    func names() {
        let metrics = CaptureMetric.allCases
        #expect(Set(metrics.map { [$0.name, $0.reason ?? ""] }).count == metrics.count)
        var families: [String] = []
        for metric in metrics where families.last != metric.name { families.append(metric.name) }
        #expect(Set(families).count == families.count)
        for family in families {
            let members = metrics.filter { $0.name == family }
            #expect(Set(members.map(\.help)).count == 1)
            #expect(members.count == 1 || members.allSatisfy { $0.reason != nil })
        }
    }

    @Test("are all in the log's last line about a capture, but for what other keys of it tell")
    func log() {
        let counters = CaptureCounters()
        for metric in CaptureMetric.allCases { counters.add(1000 + metric.rawValue, to: metric) }
        let metadata = counters.counts.metadata
        for metric in CaptureMetric.allCases {
            guard let name = metric.logName else { continue }
            #expect(metadata[name].map { "\($0)" } == "\(1000 + metric.rawValue)")
        }
        // Packets are there as `sent`, and what was left out as frames by fate.
        let others: [CaptureMetric] = [
            .packetsQueued, .bytesQueued, .packetsSent, .bytesSent, .packetsDroppedByQueue,
            .packetsLimited, .packetsSampledOut,
        ]
        #expect(CaptureMetric.allCases.filter { $0.logName == nil } == others)
        #expect(metadata["sent"] != nil)
        #expect(Fate.allCases.allSatisfy { metadata[$0.name] != nil })
    }

    @Test("and the log's line has only the fates, the frames punted and the packets sent at first")
    func quietLog() {
        let metadata = CaptureCounters().counts.metadata
        #expect(
            Set(metadata.keys)
                == Set(Fate.allCases.map(\.name) + ["matched", "sent", "punted"]))
    }
}
