import CaptureFiles
import Collector
import Formats

/// The statistics of a collector, for people and as JSON.
enum CollectReport {
    /// The line of a run to which no agent has come.
    static let noAgentText = "no agent has captured anything\n"

    /// What has come from agents and what became of it, as tables for people.
    static func numbers(_ collector: Collector, in window: Window) -> String {
        let statistics = collector.statistics
        var text =
            statistics.isEmpty
            ? noAgentText
            : SourceStatistics.table(statistics, in: window)
        let counts = collector.admissionCounts
        if counts != AdmissionCounts() { text += "\(counts)\n" }
        let outputs = collector.outputCounts
        if outputs.contains(where: { $0.kind != "file" || $0.lostCount > 0 }) {
            text += OutputCounts.table(outputs, in: window)
        }
        return text + (orderText(collector) ?? "")
    }

    /// What may be wrong with a filter in words that no packet has matched; nil if nothing is.
    static func filterHint(_ collector: Collector, _ filter: String?) -> String? {
        let statistics = collector.statistics
        guard !statistics.isEmpty, statistics.allSatisfy({ $0.packetCount == 0 }) else {
            return nil
        }
        return filter.flatMap { FilterOptions.hint(forUnmatched: $0) }
    }

    /// A line for the files, or for those of each link type.
    static func filesText(_ collector: Collector) -> String {
        collector.files.map { files in
            let left =
                files.leftCount < files.fileCount ? ", of which \(files.leftCount) are left" : ""
            let more =
                files.fileCount > 1 ? "\(files.fileCount) files\(left), the last of them " : ""
            return "\(ByteCount(files.byteCount)) in \(more)\(files.lastPath)\n"
        }.joined()
    }

    static func json(_ collector: Collector, _ settings: CollectCommand.Settings) -> JSON {
        let agents = collector.statistics.map { source in
            JSON.object([
                ("agent", .text(source.name)),
                ("link_type", .text(source.linkType)),
                ("packets", number(source.packetCount)),
                ("bytes", number(source.byteCount)),
                ("packets_per_second", number(source.packetsPerSecond)),
                ("dropped_by_agent", number(source.droppedCount)),
                ("lost_datagrams", number(source.lostDatagramCount)),
                ("lost_packets", number(source.lostPacketCount)),
                ("datagrams_not_understood", number(source.notUnderstoodCount)),
                ("datagrams_of_others", number(source.strangerCount)),
                ("state", .text(source.state)),
                ("gone_seconds", source.goneSeconds.map { .number(Int($0)) } ?? .null),
            ])
        }
        let files = collector.files
        return .object([
            ("agents", .array(agents)),
            ("connections_refused", number(collector.admissionCounts.refused)),
            ("connections_ended_for_others", number(collector.admissionCounts.evicted)),
            ("order", order(collector.orderCounts)),
            ("names_of_other_agents", number(collector.nameCounts.taken)),
            ("names_not_kept", number(collector.nameCounts.notKept)),
            ("files", .number(files.reduce(0) { $0 + $1.fileCount })),
            ("file_bytes", number(files.reduce(0) { $0 + $1.byteCount })),
            ("last_file", files.last.map { .text($0.lastPath) } ?? .null),
            ("link_types", .array(files.compactMap(json))),
            ("outputs", .array(collector.outputCounts.map(json))),
        ])
    }

    /// Packets that are not in their place.
    private static func order(_ counts: TimeOrder.Counts) -> JSON {
        .object([
            ("late", number(counts.late)),
            ("late_milliseconds", number(counts.lateNanosecondsMax / 1_000_000)),
            ("early", number(counts.early)),
            ("ahead", number(counts.ahead)),
        ])
    }

    /// A line for each reason for which packets are not in the order of their time stamps; nil for none.
    private static func orderText(_ collector: Collector) -> String? {
        let counts = collector.orderCounts
        func line(_ count: UInt64, _ text: String) -> String {
            count == 0 ? "" : "\(Wording.count(Int(clamping: count), "packet")) \(text)\n"
        }
        let text =
            line(
                counts.late,
                "came later than --order waits for earlier ones, up to "
                    + "\(counts.lateNanosecondsMax / 1_000_000 + 1) ms: a longer time may help")
            + line(counts.early, "did not wait that long, since the memory for it was full")
            + line(counts.ahead, "had a time ahead of this host's clock: set all clocks by NTP")
        return text.isEmpty ? nil : text
    }

    /// The files of a link type; nil if they are not split.
    private static func json(_ files: RecordedFiles) -> JSON? {
        files.linkType.map { linkType in
            .object([
                ("link_type", .text(LinkTypeName.text(linkType))),
                ("files", .number(files.fileCount)), ("file_bytes", number(files.byteCount)),
                ("last_file", .text(files.lastPath)),
            ])
        }
    }

    /// What became of the packets at an output.
    private static func json(_ output: OutputCounts) -> JSON {
        let readers = output.readers.map { readers in
            (
                "readers",
                JSON.object([
                    ("present", .number(readers.present)),
                    ("connected", number(readers.connected)), ("refused", number(readers.refused)),
                ])
            )
        }
        return .object(
            [
                ("output", .text(output.kind)), ("where", .text(output.place)),
                ("packets", number(output.packetCount)), ("bytes", number(output.byteCount)),
                ("lost", number(output.lostCount)),
                ("reasons", .object(output.losses.map { ($0.reason, number($0.packetCount)) })),
            ] + [readers].compactMap(\.self))
    }

    private static func number(_ value: UInt64) -> JSON { .number(Int(clamping: value)) }
}
