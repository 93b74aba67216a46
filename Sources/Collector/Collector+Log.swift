import Addressing
import Formats
import Linux
import Log
import Logging
import Security
import Time

/// The log of sessions.
///
/// What each try of an agent says again is logged once, and then now and then; see `PeerLogThrottle`.
extension Collector {
    /// The time for which a session has to last so that all its lines are logged.
    private static let fullLogTime = Duration.seconds(10)

    /// Logs that agents are waited for, and for how long that may be.
    func announce(_ local: SocketAddress, hasTLS: Bool) {
        view.note(
            "listening", ["address": "\(local)", "tls": hasTLS ? "on" : "off"], logger)
        view.note(
            "waiting for agents: each tries again within \(Backoff.delayMax.components.seconds) s",
            ["hint": "--from rpcap://NODE dials an agent that listens at once"], logger)
    }

    /// Logs the numbers of all agents and outputs so far.
    ///
    /// - Parameter isAsked: Whether a person has asked for them, who sees them at any level of the log.
    package func logNumbers(isAsked: Bool = false) {
        var logger = logger
        if isAsked { logger.logLevel = min(logger.logLevel, .info) }
        SummaryLines.log(statistics, outputs.counts, logger)
    }

    /// Logs what has been written, when the collector has ended.
    package func logFiles() {
        for files in files {
            logger.info(
                "recording complete",
                metadata: [
                    "path": "\(files.lastPath)", "files": .number(files.fileCount),
                    "bytes": .number(files.byteCount),
                ])
        }
    }

    /// The logger for what the peer of a session has caused.
    ///
    /// Anybody who reaches the port can cause any number of short sessions.
    func logger(of link: AgentLink, _ now: MonotonicTime) -> Logger {
        link.source == nil && now - link.connectedAt < Self.fullLogTime ? doorLogger : logger
    }

    /// Adds what to do to a line about an agent of `--from`, if few others have said so.
    ///
    /// Lines that are not logged, but at level debug, have it always.
    private func add(
        _ remedy: String?, to values: inout Logger.Metadata, _ level: Logger.Level,
        _ now: MonotonicTime
    ) {
        guard let remedy else { return }
        let isSeen = level > .debug && level >= logger.logLevel
        if !isSeen || remedies.admit(remedy, now: now) { values["remedy"] = "\(remedy)" }
    }

    /// Logs that an agent cannot be reached.
    func warn(
        _ dialer: SourceDialer, _ reason: String, _ remedy: String?, _ now: MonotonicTime
    ) {
        let news = dialer.lines.recordUnreached(reason, now: now)
        var values = news ?? ["reason": "\(reason)"]
        values["agent"] = "\(dialer.source)"
        let level: Logger.Level = news == nil ? .debug : .warning
        add(remedy, to: &values, level, now)
        view.log(level, "agent not reached", values, logger)
    }

    /// Logs that a session with an agent that was dialled could not begin.
    func warnOfTLS(
        _ error: TLSFailure, with dialer: SourceDialer, _ now: MonotonicTime
    ) {
        let counts = dialer.lines.recordFailure(error.text, since: now, now: now)
        guard var values = counts else { return }
        values["agent"] = "\(dialer.source)"
        add(Remedy.text(for: error, of: dialer.source), to: &values, .warning, now)
        view.warn("cannot capture from agent", values, logger)
    }

    /// Logs that a session with an agent that dialled could not begin.
    func warnOfRefusal(of peer: SocketAddress, _ error: any Error, _ now: MonotonicTime) {
        let failure = error as? TLSFailure
        let counts = agentLines.update("\(peer.address)", now: now) {
            $0.recordFailure(failure?.text ?? "\(error)", since: now, now: now)
        }
        guard var values = counts else { return }
        values["agent"] = "\(peer)"
        if let remedy = failure.flatMap({ Remedy.text(for: $0, of: nil) }) {
            values["remedy"] = "\(remedy)"
        }
        view.warn("cannot capture from agent", values, doorLogger)
    }

    /// Logs that a session has begun, unless it is one more try of an agent that fails.
    func noteConnection(of link: AgentLink) {
        let news =
            dialer(of: link).map { $0.lines.recordConnection() }
            ?? (isFailing(link) ? nil : [:])
        link.isRetry = news == nil
        var values = news ?? [:]
        values["agent"] = "\(link.label)"
        view.log(
            news == nil ? .debug : .info, "agent connected", values,
            link.source == nil ? doorLogger : logger)
    }

    /// Logs that a capture has begun, once while its agent fails.
    func noteCapture(of link: AgentLink, _ counters: SourceCounters, _ now: MonotonicTime) {
        let text = "capture started"
        guard !isFailing(link) || recordNote("\(text) \(counters.name)", of: link, now) else {
            return
        }
        view.note(
            text,
            [
                "agent": "\(link.label)", "device": "\(link.device)",
                "interface": "\(counters.name)",
            ], logger(of: link, now))
    }

    /// Logs what a person has to be told of a link, each text once.
    func warnOfNotes(of link: AgentLink, _ now: MonotonicTime) {
        for note in link.takeNotes() where recordNote(note, of: link, now) {
            view.warn(
                "agent notice", ["agent": "\(link.label)", "text": "\(note)"],
                logger(of: link, now))
        }
    }

    /// Records that a session works, and logs it if others have failed before.
    func noteWork(of link: AgentLink, _ now: MonotonicTime) {
        guard !link.isProven, link.endReason == nil, link.hasWorked(now: now) else { return }
        link.isProven = true
        // Others that share its address have failed, if any have.
        guard link.isRetry || link.source != nil else { return }
        let failureCount = recordSuccess(of: link)
        guard failureCount > 0 else { return }
        guard link.source != nil || !sharesAddress(link) else {
            return view.note("agent connected", ["agent": "\(link.label)"], logger)
        }
        view.note(
            "agent is captured from again",
            ["agent": "\(link.label)", "failures": .number(failureCount)], logger)
    }

    /// Logs the end of a session.
    ///
    /// - Parameters:
    ///   - link: The session.
    ///   - reason: Why it has ended.
    ///   - isCaptured: Whether another session of the agent goes on, so that nothing is missing.
    ///   - now: The time.
    func reportEnd(
        of link: AgentLink, _ reason: String, isCaptured: Bool, _ now: MonotonicTime
    ) {
        var values: Logger.Metadata = ["agent": "\(link.label)", "reason": "\(reason)"]
        if let counters = link.counters { values["device"] = "\(counters.name)" }
        if link.isLoop {
            // A person has to act.
            values["remedy"] = "\(AgentLink.loopRemedy)"
            return view.warn("agent gone", values, logger)
        }
        if link.isProbe {
            return view.note("connection closed without data", values, logger(of: link, now))
        }
        let text =
            isCaptured
            ? "a session of the agent has ended, another one goes on"
            : link.counters == nil ? "cannot capture from agent" : "agent gone"
        if isStopping || link.hasWorked(now: now) {
            _ = recordSuccess(of: link)
            guard !isStopping, !link.hasEnded, !isCaptured else {
                return view.note(text, values, logger)
            }
            // There is a hole in the capture until it is back.
            return view.warn(text, values, logger)
        }
        let counts = recordFailure(of: link, reason, now)
        if let counts { values.merge(counts) { $1 } }
        let level: Logger.Level = counts == nil ? .debug : isCaptured ? .info : .warning
        if link.source != nil {
            add(link.remedy, to: &values, level, now)
        } else if let remedy = link.remedy {
            // Lines about agents that dial are few by themselves.
            values["remedy"] = "\(remedy)"
        }
        view.log(level, text, values, logger(of: link, now))
    }
}

/// The throttles of agents: those that dial by their addresses, others by their sources.
extension Collector {
    private func dialer(of link: AgentLink) -> SourceDialer? {
        link.source.flatMap { source in dialers.first { $0.source == source } }
    }

    /// Whether other agents have dialled from a link's address, so nobody knows which of them has failed.
    private func sharesAddress(_ link: AgentLink) -> Bool {
        links.contains { $0 !== link && $0.source == nil && $0.peer.address == link.peer.address }
            || outputs.sources.counters.contains {
                $0 !== link.counters && $0.name.hasSuffix("@\(link.peer.address)")
            }
    }

    private func name(of link: AgentLink) -> String { "\(link.peer.address)" }

    private func isFailing(_ link: AgentLink) -> Bool {
        dialer(of: link)?.lines.isFailing
            ?? agentLines.throttle(of: name(of: link)).isFailing
    }

    private func recordNote(_ text: String, of link: AgentLink, _ now: MonotonicTime) -> Bool {
        if let dialer = dialer(of: link) { return dialer.lines.recordNote(text, now: now) }
        return agentLines.update(name(of: link), now: now) { $0.recordNote(text, now: now) }
    }

    private func recordSuccess(of link: AgentLink) -> Int {
        dialer(of: link)?.lines.recordSuccess() ?? agentLines.recordSuccess(name(of: link))
    }

    private func recordFailure(
        of link: AgentLink, _ reason: String, _ now: MonotonicTime
    ) -> Logger.Metadata? {
        let begin = link.connectedAt
        if let dialer = dialer(of: link) {
            return dialer.lines.recordFailure(reason, since: begin, now: now)
        }
        return agentLines.update(name(of: link), now: now) {
            $0.recordFailure(reason, since: begin, now: now)
        }
    }
}
