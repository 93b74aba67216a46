import Collector
import Formats

/// The final statistics of a collector as JSON.
enum CollectReport {
    static func json(_ collector: Collector, _ settings: CollectCommand.Settings) -> JSON {
        let agents = collector.statistics.map { source in
            JSON.object([
                ("agent", .text(source.name)),
                ("packets", number(source.packetCount)),
                ("bytes", number(source.byteCount)),
                ("packetsPerSecond", number(source.packetsPerSecond)),
                ("droppedByAgent", number(source.droppedCount)),
                ("lostDatagrams", number(source.lostDatagramCount)),
                ("lostPackets", number(source.lostPacketCount)),
                ("datagramsNotUnderstood", number(source.notUnderstoodCount)),
                ("datagramsOfOthers", number(source.strangerCount)),
                ("state", .text(source.state)),
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
