import Flows
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
    /// The most agents that have lines of their own in a summary; more have one together.
    private static let summaryCountMax = 100

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
        _ outputs: Outputs, now: MonotonicTime, _ logger: Logger
    ) {
        tickCount += 1
        if isTerminal {
            if let flows = outputs.flows, let view = flows.view {
                draw(flows, view, of: links, now)
            } else {
                draw(links, dialers, counts, outputs.counts, now)
            }
        } else if tickCount % Self.tickCountPerSummary == 0 {
            let statistics = links.compactMap { $0.counters?.statistics(now: now) }
            if statistics.count > Self.summaryCountMax {
                summarize(statistics, logger)
            } else {
                for statistics in statistics { summarize(statistics, logger) }
            }
            summarize(counts, logger)
            for output in outputs.counts where Self.isOfNote(output) {
                summarize(output, logger)
            }
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

    /// Logs what many agents have sent together.
    private func summarize(_ statistics: [SourceStatistics], _ logger: Logger) {
        func sum(_ count: KeyPath<SourceStatistics, UInt64>) -> String {
            "\(statistics.reduce(0) { $0 &+ $1[keyPath: count] })"
        }
        erase()
        logger.info(
            "summary",
            metadata: [
                "agents": "\(statistics.count)", "packets": "\(sum(\.packetCount))",
                "bytes": "\(sum(\.byteCount))",
                "packets-per-second": "\(sum(\.packetsPerSecond))",
                "dropped": "\(sum(\.droppedCount))", "lost": "\(sum(\.lostPacketCount))",
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
    /// The columns that are left out where the window is narrow, the one that is missed least first.
    private static let spareColumns = ["SINCE", "BYTES/S", "DEVICE", "LOST", "PACKETS"]
    private static let waiting = "waiting for agents, which dial again within 30 s\n"

    /// The table of agents, as wide as the window is.
    private static func table(_ rows: [[String]]) -> String {
        var spares = spareColumns[...]
        var columns = Array(head.indices)
        while true {
            let text = Columns.text(
                columns.map { head[$0] }, rows.map { row in columns.map { row[$0] } })
            let width = text.split(separator: "\n").map(\.count).max() ?? 0
            guard width > Self.width, let spare = spares.popFirst() else { return text }
            columns.removeAll { head[$0] == spare }
        }
    }

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
        var text = rows.isEmpty ? Self.waiting : Self.table(rows)
        let outputs = outputs.filter(Self.isOfNote)
        if !outputs.isEmpty { text += OutputCounts.table(outputs) }
        if counts != AdmissionCounts() { text += "\(counts)\n" }
        show(text)
    }

    /// Draws who talks to whom.
    private func draw(
        _ flows: FlowSink, _ view: FlowOptions.View, of links: [AgentLink], _ now: MonotonicTime
    ) {
        let count = min(view.countMax, Self.height - 2)
        let list = flows.takeList(view, countMax: count, now: now)
        let agents = Wording.count(links.count { $0.isCapturing }, "agent")
        let packets = Wording.count(Int(clamping: flows.table.frameCount), "packet")
        let conversations = list.matchCount + list.filteredCount
        erase()
        guard !links.isEmpty || conversations > 0 else { return show(Self.waiting) }
        show(
            "\(agents), \(packets), \(Wording.count(conversations, "conversation"))\n"
                + ConversationText(list) { TimeStamp.clockText(nanoseconds: $0) }
                .text(width: Self.width))
    }

    /// The columns of the window.
    private static var width: Int { terminalWidth(STDERR_FILENO) ?? 80 }

    /// The lines of the window that a table may have.
    ///
    /// One is left to the cursor: a table that is higher than the window could not be erased.
    private static var height: Int { max(4, terminalHeight(STDERR_FILENO) ?? 25) - 1 }

    /// Writes a table, as far as it fits the window: a line that wraps would be two.
    private func show(_ text: String) {
        var lines = text.split(separator: "\n")
        if lines.count > Self.height {
            lines =
                lines.prefix(Self.height - 1) + ["and \(lines.count - Self.height + 1) more lines"]
        }
        lineCount = lines.count
        write(lines.map { $0.prefix(Self.width) + "\n" }.joined())
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
