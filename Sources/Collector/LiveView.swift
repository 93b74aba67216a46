import Logging

import Formats
import Glibc
import Linux

/// What a person sees while a collector runs: on a terminal a table that is redrawn in place each
/// second, elsewhere a log line for each change and a summary from time to time.
package final class LiveView {
    private let isTerminal: Bool
    private var lineCount = 0
    private var rates: [String: (packets: UInt64, bytes: UInt64)] = [:]
    private var tickCount = 0

    /// Where nothing changes on the screen, a summary this often is enough.
    private static let tickCountPerSummary = 10

    package init() {
        isTerminal = Linux.isTerminal(STDERR_FILENO)
    }

    /// Says that something has changed.
    func note(_ text: String, _ values: [String: String], _ logger: Logger) {
        erase()
        logger.info("\(text)", metadata: values.mapValues { "\($0)" })
    }

    /// Says that something has not come about that was asked for.
    func warn(_ text: String, _ values: [String: String], _ logger: Logger) {
        erase()
        logger.warning("\(text)", metadata: values.mapValues { "\($0)" })
    }

    func show(_ links: [AgentLink], _ dialers: [SourceDialer], now: UInt64, _ logger: Logger) {
        tickCount += 1
        if isTerminal {
            draw(links, dialers, now)
        } else if tickCount % Self.tickCountPerSummary == 0 {
            for link in links {
                if let tally = link.tally { summarize(tally.report(now: now), logger) }
            }
        }
    }

    /// A line about an agent, for a log.
    func summarize(_ report: AgentReport, _ logger: Logger) {
        erase()
        logger.info(
            "summary",
            metadata: [
                "agent": "\(report.name)", "packets": "\(report.packetCount)",
                "bytes": "\(report.byteCount)", "packets-per-second": "\(report.packetsPerSecond)",
                "dropped": "\(report.droppedCount)", "lost": "\(report.lost)",
                "state": "\(report.state)",
            ])
    }

    private static let head = [
        "AGENT", "DEVICE", "STATE", "PACKETS", "PACKETS/S", "BYTES/S", "DROPPED", "LOST", "SINCE",
    ]

    private func draw(_ links: [AgentLink], _ dialers: [SourceDialer], _ now: UInt64) {
        var rates: [String: (packets: UInt64, bytes: UInt64)] = [:]
        var rows = links.map { link in
            let report = link.tally?.report(now: now)
            let counts = (packets: report?.packetCount ?? 0, bytes: report?.byteCount ?? 0)
            // What a session begins with is not what came in the last second.
            let before = self.rates[link.label] ?? counts
            rates[link.label] = counts
            return [
                link.label, link.device, link.state.rawValue, "\(counts.packets)",
                "\(counts.packets - min(before.packets, counts.packets))",
                "\(ByteCount(counts.bytes - min(before.bytes, counts.bytes)))",
                "\(report?.droppedCount ?? 0)", report?.lost ?? "0",
                Duration.nanoseconds(now - link.connectedAt).text,
            ]
        }
        for dialer in dialers where dialer.link == nil {
            rows.append(["\(dialer.source)", "", dialer.state, "", "", "", "", "", ""])
        }
        self.rates = rates
        erase()
        let text = rows.isEmpty ? "waiting for agents\n" : Columns.text(Self.head, rows)
        lineCount = text.split(separator: "\n").count
        write(text)
    }

    /// Takes the table off the screen: up to its first line, and all below it (ECMA-48).
    private func erase() {
        guard lineCount > 0 else { return }
        write("\u{1b}[\(lineCount)F\u{1b}[J")
        lineCount = 0
    }

    private func write(_ text: String) {
        // A terminal that is gone is no loss.
        try? writeAll(text.utf8, to: STDERR_FILENO, "the table")
    }
}
