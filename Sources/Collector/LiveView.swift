import Formats
import Glibc
import Linux
import Logging
import Time

/// A view of a running collector for people.
///
/// On a terminal it is a table that is redrawn in place each second. Elsewhere it is a log line for
/// each change, and a summary from time to time.
package final class LiveView {
    private let isTerminal: Bool
    private var lineCount = 0
    private var rates: [String: (packets: UInt64, bytes: UInt64)] = [:]
    private var tickCount = 0
    private var shownCounts = AdmissionCounts()

    /// The seconds between two summaries where there is no table.
    private static let tickCountPerSummary = 10

    package init() {
        isTerminal = Linux.isTerminal(STDERR_FILENO)
    }

    /// Logs that something has changed.
    func note(_ text: String, _ values: [String: String], _ logger: Logger) {
        erase()
        logger.info("\(text)", metadata: values.mapValues { "\($0)" })
    }

    /// Logs that something was asked for and has failed.
    func warn(_ text: String, _ values: [String: String], _ logger: Logger) {
        erase()
        logger.warning("\(text)", metadata: values.mapValues { "\($0)" })
    }

    /// Shows the state of all agents; to be called each second.
    func show(
        _ links: [AgentLink], _ dialers: [SourceDialer], _ counts: AdmissionCounts,
        _ outputs: [OutputCounts], now: MonotonicTime, _ logger: Logger
    ) {
        tickCount += 1
        if isTerminal {
            draw(links, dialers, counts, outputs, now)
        } else if tickCount % Self.tickCountPerSummary == 0 {
            for link in links {
                if let counters = link.counters {
                    summarize(counters.statistics(now: now), logger)
                }
            }
            summarize(counts, logger)
            for output in outputs where Self.isOfNote(output) { summarize(output, logger) }
        }
    }

    /// Whether an output has something to say that the table of agents does not.
    private static func isOfNote(_ output: OutputCounts) -> Bool {
        output.kind != "file" || output.lostCount > 0
    }

    /// Logs what became of the packets at an output.
    private func summarize(_ output: OutputCounts, _ logger: Logger) {
        var values: Logger.Metadata = [
            "output": "\(output.kind)", "where": "\(output.place)",
            "packets": "\(output.packetCount)", "bytes": "\(output.byteCount)",
            "lost": "\(output.lostCount)",
        ]
        if let readers = output.readers { values["readers"] = "\(readers.present)" }
        logger.info("summary", metadata: values)
    }

    /// Logs what the limits for connections have done, if that is more than the last time.
    private func summarize(_ counts: AdmissionCounts, _ logger: Logger) {
        guard counts != shownCounts else { return }
        shownCounts = counts
        logger.warning(
            "limits reached",
            metadata: [
                "connections-refused": "\(counts.refused)",
                "connections-ended-for-others": "\(counts.evicted)",
            ])
    }

    /// Logs the statistics of an agent.
    func summarize(_ statistics: SourceStatistics, _ logger: Logger) {
        erase()
        logger.info(
            "summary",
            metadata: [
                "agent": "\(statistics.name)", "link-type": "\(statistics.linkType)",
                "packets": "\(statistics.packetCount)",
                "bytes": "\(statistics.byteCount)",
                "packets-per-second": "\(statistics.packetsPerSecond)",
                "dropped": "\(statistics.droppedCount)", "lost": "\(statistics.lost)",
                "state": "\(statistics.state)",
            ])
    }

    private static let head = [
        "AGENT", "DEVICE", "STATE", "PACKETS", "PACKETS/S", "BYTES/S", "DROPPED", "LOST", "SINCE",
    ]

    private func draw(
        _ links: [AgentLink], _ dialers: [SourceDialer], _ counts: AdmissionCounts,
        _ outputs: [OutputCounts], _ now: MonotonicTime
    ) {
        var rates: [String: (packets: UInt64, bytes: UInt64)] = [:]
        var rows = links.map { link in
            let statistics = link.counters?.statistics(now: now)
            let counts = (packets: statistics?.packetCount ?? 0, bytes: statistics?.byteCount ?? 0)
            // In its first second a session has no rate yet.
            let before = self.rates[link.label] ?? counts
            rates[link.label] = counts
            return [
                link.label, link.shownDevice, link.shownState, "\(counts.packets)",
                "\(counts.packets - min(before.packets, counts.packets))",
                "\(ByteCount(counts.bytes - min(before.bytes, counts.bytes)))",
                "\(statistics?.droppedCount ?? 0)", statistics?.lost ?? "0",
                (now - link.connectedAt).text,
            ]
        }
        for dialer in dialers where dialer.link == nil {
            rows.append(["\(dialer.source)", "", dialer.state, "", "", "", "", "", ""])
        }
        self.rates = rates
        erase()
        var text = rows.isEmpty ? "waiting for agents\n" : Columns.text(Self.head, rows)
        let outputs = outputs.filter(Self.isOfNote)
        if !outputs.isEmpty { text += OutputCounts.table(outputs) }
        if counts != AdmissionCounts() { text += "\(counts)\n" }
        lineCount = text.split(separator: "\n").count
        write(text)
    }

    /// Erases the table from its first line on (ECMA-48).
    private func erase() {
        guard lineCount > 0 else { return }
        write("\u{1b}[\(lineCount)F\u{1b}[J")
        lineCount = 0
    }

    private func write(_ text: String) {
        // The table is lost with its terminal; the recording goes on.
        try? writeAll(text.utf8, to: STDERR_FILENO, "the table")
    }
}
