import Collector
import Formats

/// The final numbers of a collector as JSON.
enum CollectReport {
    static func json(_ collector: Collector, _ settings: CollectCommand.Settings) -> JSON {
        let agents = collector.reports.map { report in
            JSON.object([
                ("agent", .text(report.name)),
                ("packets", number(report.packetCount)),
                ("bytes", number(report.byteCount)),
                ("packetsPerSecond", number(report.packetsPerSecond)),
                ("droppedByAgent", number(report.droppedCount)),
                ("lostDatagrams", number(report.lostDatagramCount)),
                ("lostPackets", number(report.lostPacketCount)),
                ("datagramsNotUnderstood", number(report.notUnderstoodCount)),
                ("datagramsOfOthers", number(report.strangerCount)),
                ("state", .text(report.state)),
            ])
        }
        return .object([
            ("agents", .array(agents)),
            ("files", .number(collector.fileCount)),
            ("fileBytes", number(collector.fileByteCount)),
            ("lastFile", .text(collector.lastPath)),
        ])
    }

    private static func number(_ value: UInt64) -> JSON { .number(Int(clamping: value)) }
}
