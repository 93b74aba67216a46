import Linux
import Log
import Logging
import Time

/// The lines `summary` of the log: one for each agent, a minute apart.
///
/// An agent of which nothing has changed has one every quarter of an hour, as a sign of life.
struct SummaryLines {
    private var deadline: MonotonicTime
    /// What each agent's last line was made from, and when.
    private var told: [String: (content: [String], time: MonotonicTime)] = [:]
    private var toldCounts = AdmissionCounts()

    /// The time between two lines, and where nothing changes; as the agent's.
    private static let interval = Duration.seconds(60)
    private static let quietInterval = Duration.seconds(900)
    /// The most agents that have lines of their own; more have one together.
    private static let agentCountMax = 100

    init(now: MonotonicTime) { deadline = now + Self.interval }

    /// Logs what is due; to be called each second.
    mutating func log(
        _ sources: [SourceCounters], _ outputs: Outputs, _ counts: AdmissionCounts,
        now: MonotonicTime, _ logger: Logger
    ) {
        guard now >= deadline else { return }
        deadline = now + Self.interval
        let statistics = sources.map { $0.statistics(now: now) }
        var lines: [(name: String, content: [String], metadata: Logger.Metadata)] = []
        if statistics.count > Self.agentCountMax {
            lines.append(Self.line(statistics))
        } else {
            lines += statistics.map { Self.line($0) }
        }
        lines += outputs.counts.filter { $0.kind != "file" || $0.lostCount > 0 }.map {
            Self.line($0)
        }
        var kept: [String: (content: [String], time: MonotonicTime)] = [:]
        for line in lines {
            if let last = told[line.name], last.content == line.content,
                now < last.time + Self.quietInterval
            {
                kept[line.name] = last
            } else {
                kept[line.name] = (line.content, now)
                logger.info("summary", metadata: line.metadata)
            }
        }
        told = kept
        log(counts, logger)
    }

    /// Logs the last numbers of an agent that is forgotten.
    static func log(_ statistics: SourceStatistics, _ logger: Logger) {
        logger.info("summary", metadata: line(statistics).metadata)
    }

    /// Logs the numbers of all agents and outputs at the end.
    static func log(
        _ statistics: [SourceStatistics], _ outputs: [OutputCounts], _ logger: Logger
    ) {
        if statistics.isEmpty { logger.warning("no agent has captured anything") }
        for source in statistics { log(source, logger) }
        for output in outputs { logger.info("summary", metadata: line(output).metadata) }
    }

    /// Logs what the limits for connections have done, if that is more than the last time.
    private mutating func log(_ counts: AdmissionCounts, _ logger: Logger) {
        guard counts != toldCounts else { return }
        toldCounts = counts
        logger.warning(
            "limits reached",
            metadata: [
                "connections_refused": .number(counts.refused),
                "connections_ended_for_others": .number(counts.evicted),
            ])
    }

    private static func line(
        _ source: SourceStatistics
    ) -> (name: String, content: [String], metadata: Logger.Metadata) {
        var metadata: Logger.Metadata = [
            "agent": "\(source.name)", "link_type": "\(source.linkType)",
            "packets": .number(source.packetCount), "bytes": .number(source.byteCount),
            "packets_per_second": .number(source.packetsPerSecond),
            "dropped": .number(source.droppedCount), "lost": .number(source.lostPacketCount),
            "lost_datagrams": .number(source.lostDatagramCount), "state": "\(source.state)",
        ]
        if let seconds = source.goneSeconds { metadata["gone_seconds"] = .number(seconds) }
        let content = [
            source.packetCount, source.droppedCount, source.lostPacketCount,
            source.lostDatagramCount,
        ].map { "\($0)" }
        return ("agent \(source.name) \(source.linkType)", content + [source.state], metadata)
    }

    private static func line(
        _ statistics: [SourceStatistics]
    ) -> (name: String, content: [String], metadata: Logger.Metadata) {
        func sum(_ count: KeyPath<SourceStatistics, UInt64>) -> UInt64 {
            statistics.reduce(0) { $0 &+ $1[keyPath: count] }
        }
        let counts = [
            statistics.count, statistics.count { $0.goneSeconds != nil },
            Int(clamping: sum(\.packetCount)), Int(clamping: sum(\.droppedCount)),
            Int(clamping: sum(\.lostPacketCount)),
        ]
        let metadata: Logger.Metadata = [
            "agents": .number(counts[0]), "agents_gone": .number(counts[1]),
            "packets": .number(counts[2]), "bytes": .number(sum(\.byteCount)),
            "packets_per_second": .number(sum(\.packetsPerSecond)),
            "dropped": .number(counts[3]), "lost": .number(counts[4]),
        ]
        return ("agents", counts.map { "\($0)" }, metadata)
    }

    private static func line(
        _ output: OutputCounts
    ) -> (name: String, content: [String], metadata: Logger.Metadata) {
        var metadata: Logger.Metadata = [
            "output": "\(output.kind)", "where": "\(output.place)",
            "packets": .number(output.packetCount), "bytes": .number(output.byteCount),
            "lost": .number(output.lostCount),
        ]
        if let readers = output.readers { metadata["readers"] = .number(readers.present) }
        let content = [output.packetCount, output.lostCount].map { "\($0)" }
        return ("output \(output.kind) \(output.place)", content, metadata)
    }
}
