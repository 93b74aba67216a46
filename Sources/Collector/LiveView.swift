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
    private var summaries = SummaryLines(now: .now)

    /// A view on standard error.
    ///
    /// - Parameters:
    ///   - isAlone: Whether nobody else writes to the terminal; where somebody does, nothing is drawn.
    ///   - isQuiet: Whether there are neither tables nor summaries.
    ///   - allowsColors: Whether the table may have colours.
    ///   - write: Writes to the terminal, in order with the lines of the log.
    package init(
        isAlone: Bool = true, isQuiet: Bool = false, allowsColors: Bool = true,
        write: @escaping @Sendable (String) -> Void
    ) {
        screen =
            isAlone && !isQuiet
            ? LiveScreen(on: STDERR_FILENO, allowsColors: allowsColors, write: write) : nil
        isTerminal = Linux.isTerminal(STDERR_FILENO)
        self.isQuiet = isQuiet
    }

    /// Takes the table away while the size of the window changes.
    func hold() { screen?.hold() }

    /// Draws the last table anew, for a window of another size.
    func resume() {
        screen?.resume()
        redraw()
    }

    /// Leaves the table where it is, for lines of another program to follow it, and draws none until `resume`.
    func leave() {
        screen?.leave()
        screen?.hold()
    }

    /// Draws the last table anew.
    private func redraw() {
        guard let screen, let drawing else { return }
        self.screen?.show(drawing(screen.window))
    }

    /// Makes place for a text of somebody else.
    func makePlace() { erase() }

    /// Logs that something has changed.
    func note(_ text: String, _ values: Logger.Metadata, _ logger: Logger) {
        log(.info, text, values, logger)
    }

    /// Logs that something was asked for and has failed.
    func warn(_ text: String, _ values: Logger.Metadata, _ logger: Logger) {
        log(.warning, text, values, logger)
    }

    /// Logs something at a level, if that is logged.
    func log(
        _ level: Logger.Level, _ text: String, _ values: Logger.Metadata, _ logger: Logger
    ) {
        guard level >= logger.logLevel else { return }
        erase()
        logger.log(level: level, "\(text)", metadata: values)
    }

    /// Shows the state of all agents; to be called each second.
    func show(
        _ links: [AgentLink], _ absent: [AbsentAgent], _ counts: AdmissionCounts,
        _ outputs: Outputs, now: MonotonicTime, _ logger: Logger
    ) {
        guard !isQuiet else { return }
        guard isTerminal else {
            return summaries.log(outputs.sources.counters, outputs, counts, now: now, logger)
        }
        guard screen != nil else { return }
        if let flows = outputs.flows, let view = flows.view {
            draw(flows, view, of: links, now)
        } else {
            draw(links, absent, counts, outputs.counts, now)
        }
    }

    /// Whether an output has something to say that the table of agents does not.
    private static func isOfNote(_ output: OutputCounts) -> Bool {
        output.kind != "file" || output.lostCount > 0
    }

    /// Logs the statistics of an agent.
    func summarize(_ statistics: SourceStatistics, _ logger: Logger) {
        erase()
        SummaryLines.log(statistics, logger)
    }

    private static let waiting = """
        waiting for agents: each tries again within \(Backoff.delayMax.components.seconds) s; \
        --from rpcap://NODE dials at once
        """
}

/// The table on a terminal.
extension LiveView {
    private func draw(
        _ links: [AgentLink], _ absent: [AbsentAgent], _ counts: AdmissionCounts,
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
        for agent in absent { table.rows.append(Self.row(agent)) }
        self.rates = rates
        let outputs = outputs.filter(Self.isOfNote)
        let limits = counts == AdmissionCounts() ? "" : "\(counts)\n"
        drawing = { [table] window in
            let below = (outputs.isEmpty ? "" : OutputCounts.table(outputs, in: window)) + limits
            guard !table.rows.isEmpty else { return window.paragraph(Self.waiting) + below }
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

    /// The row of an agent that is not there.
    private static func row(_ agent: AbsentAgent) -> AgentTable.Row {
        let counts = agent.statistics.map { statistics in
            AgentTable.Counts(
                packetCount: statistics.packetCount, droppedCount: statistics.droppedCount,
                lostPacketCount: statistics.lostPacketCount,
                lostDatagramCount: statistics.lostDatagramCount)
        }
        return AgentTable.Row(
            agent: agent.name, device: agent.device, state: agent.state, isWell: agent.isWell,
            counts: counts)
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
            guard !links.isEmpty || conversations > 0 else {
                return window.paragraph(Self.waiting)
            }
            let sums = "\(agents), \(packets), \(Wording.count(conversations, "conversation"))\n"
            let table = ConversationText(list) { TimeStamp.clockText(nanoseconds: $0) }
            return sums + table.text(in: window, lineCountMax: window.height.map { $0 - 1 })
        }
        redraw()
    }

    /// Erases the table for a line of the log to take its place.
    private func erase() { screen?.erase() }
}
