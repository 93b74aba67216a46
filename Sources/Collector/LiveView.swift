import Flows
import Formats
import Glibc
import Linux
import Logging
import Terminal
import Time

/// A view of a running collector for people.
///
/// On a terminal it is a table that is redrawn in place each second. Elsewhere it is a log line for
/// each change, and a summary from time to time.
package final class LiveView {
    /// The terminal that shows the table; nil if there is none, or another program writes there.
    private var screen: LiveScreen?
    /// Writes what is shown for a window.
    private var drawing: ((Window) -> String)?
    /// Whether there is a terminal: then there are no summaries.
    private let isTerminal: Bool
    private let isQuiet: Bool
    private var rates: [String: (packets: UInt64, bytes: UInt64)] = [:]
    private var tickCount = 0
    private var shownCounts = AdmissionCounts()

    /// The seconds between two summaries where there is no table.
    private static let tickCountPerSummary = 10
    /// The most agents that have lines of their own in a summary; more have one together.
    private static let summaryCountMax = 100

    /// A view on standard error.
    ///
    /// - Parameters:
    ///   - isAlone: Whether nobody else writes to the terminal; where somebody does, nothing is drawn.
    ///   - isQuiet: Whether there are neither tables nor summaries.
    ///   - allowsColors: Whether the table may have colours.
    package init(isAlone: Bool = true, isQuiet: Bool = false, allowsColors: Bool = true) {
        screen =
            isAlone && !isQuiet
            ? LiveScreen(on: STDERR_FILENO, allowsColors: allowsColors) : nil
        isTerminal = Linux.isTerminal(STDERR_FILENO)
        self.isQuiet = isQuiet
    }

    /// Draws the last table anew, for a window of another size.
    func redraw() {
        guard let screen, let drawing else { return }
        self.screen?.show(drawing(screen.window))
    }

    /// Makes place for a text of somebody else.
    func makePlace() { erase() }

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
        guard !isQuiet else { return }
        if isTerminal {
            guard screen != nil else { return }
            if let flows = outputs.flows, let view = flows.view {
                draw(flows, view, of: links, now)
            } else {
                draw(links, dialers, counts, outputs.counts, now)
            }
        } else if tickCount % Self.tickCountPerSummary == 0 {
            summarize(
                links.compactMap { $0.counters?.statistics(now: now) }, counts, outputs.counts,
                logger)
        }
    }

    /// Logs what agents have sent, and what became of it.
    func summarize(
        _ statistics: [SourceStatistics], _ counts: AdmissionCounts, _ outputs: [OutputCounts],
        _ logger: Logger
    ) {
        if statistics.count > Self.summaryCountMax {
            summarize(statistics, logger)
        } else {
            for statistics in statistics { summarize(statistics, logger) }
        }
        summarize(counts, logger)
        for output in outputs where Self.isOfNote(output) { summarize(output, logger) }
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

    private static let waiting = "waiting for agents, which dial again within 30 s\n"
}

/// The table on a terminal.
extension LiveView {
    private func draw(
        _ links: [AgentLink], _ dialers: [SourceDialer], _ counts: AdmissionCounts,
        _ outputs: [OutputCounts], _ now: MonotonicTime
    ) {
        var rates: [String: (packets: UInt64, bytes: UInt64)] = [:]
        var table = AgentTable()
        for link in links {
            let statistics = link.counters?.statistics(now: now)
            let counts = (packets: statistics?.packetCount ?? 0, bytes: statistics?.byteCount ?? 0)
            rates[link.label] = counts
            table.rows.append(row(link, statistics, before: self.rates[link.label] ?? counts, now))
        }
        for dialer in dialers where dialer.link == nil {
            table.rows.append(
                AgentTable.Row(agent: "\(dialer.source)", state: dialer.state, isWell: false))
        }
        self.rates = rates
        let outputs = outputs.filter(Self.isOfNote)
        let limits = counts == AdmissionCounts() ? "" : "\(counts)\n"
        drawing = { [table] window in
            let below = (outputs.isEmpty ? "" : OutputCounts.table(outputs, in: window)) + limits
            guard !table.rows.isEmpty else { return Self.waiting + below }
            let room = window.height.map { max(3, $0 - below.count { $0 == "\n" }) }
            return table.text(in: window, lineCountMax: room) + below
        }
        redraw()
    }

    /// The row of an agent; in its first second a session has no rate yet.
    private func row(
        _ link: AgentLink, _ statistics: SourceStatistics?,
        before: (packets: UInt64, bytes: UInt64), _ now: MonotonicTime
    ) -> AgentTable.Row {
        let counts = statistics.map { statistics in
            AgentTable.Counts(
                packetCount: statistics.packetCount,
                packetsPerSecond: statistics.packetCount
                    - min(before.packets, statistics.packetCount),
                bytesPerSecond: statistics.byteCount - min(before.bytes, statistics.byteCount),
                droppedCount: statistics.droppedCount,
                lostPacketCount: statistics.lostPacketCount,
                lostDatagramCount: statistics.lostDatagramCount)
        }
        return AgentTable.Row(
            agent: link.label, device: link.shownDevice, state: link.shownState, counts: counts,
            age: (now - link.connectedAt).text)
    }

    /// Draws who talks to whom.
    private func draw(
        _ flows: FlowSink, _ view: FlowOptions.View, of links: [AgentLink], _ now: MonotonicTime
    ) {
        // Above the rows are a line of sums and the head.
        let rowCountMax = max(1, (screen?.window.height ?? .max) - 2)
        let list = flows.takeList(view, countMax: min(view.countMax, rowCountMax), now: now)
        let agents = Wording.count(links.count { $0.isCapturing }, "agent")
        let packets = Wording.count(Int(clamping: flows.table.frameCount), "packet")
        let conversations = list.matchCount + list.filteredCount
        drawing = { window in
            guard !links.isEmpty || conversations > 0 else { return Self.waiting }
            let sums = "\(agents), \(packets), \(Wording.count(conversations, "conversation"))\n"
            let table = ConversationText(list) { TimeStamp.clockText(nanoseconds: $0) }
            return sums + table.text(in: window, lineCountMax: window.height.map { $0 - 1 })
        }
        redraw()
    }

    /// Erases the table for a line of the log to take its place.
    private func erase() { screen?.erase() }
}
