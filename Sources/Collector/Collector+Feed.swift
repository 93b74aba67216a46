import Linux
import Logging
import Time

/// The collector's own feed, which no agent is to capture.
extension Collector {
    /// Has the agents of a host leave out each other's feed, as all of them may capture it, and all
    /// agents what goes out again from here.
    func excludeNewConnections(_ now: MonotonicTime) {
        if knownOutputVersion != outputs.ownEndsVersion {
            knownOutputVersion = outputs.ownEndsVersion
            connections.setOutputs(outputs.ownEnds)
        }
        guard knownVersion != connections.version, now >= nextExclusion else { return }
        nextExclusion = now + Self.tickInterval
        for link in links where link.feed.isOutdated {
            link.excludeFeed(now: now)
            refresh(link)
        }
        // A capture that is about to start is told later.
        if !links.contains(where: \.feed.isOutdated) { knownVersion = connections.version }
    }

    /// Looks whether the packets that were read contain feeds.
    func lookForFeeds(in link: AgentLink, _ now: MonotonicTime) {
        link.feed.advance(&echo, now: now)
        guard let other = self.link(numbered: link.feed.stranger) else { return }
        link.note(
            "its packets contain the feed of \(other.interfaceName): leave it out with a filter, "
                + "as 'not host ADDRESS' does")
    }

    /// Ends a feed that keeps itself going.
    func endLoop(of link: AgentLink, _ now: MonotonicTime) {
        link.endLoop(
            hasNeighbours: links.contains {
                $0 !== link && $0.endReason == nil && $0.peer.address == link.peer.address
            }, now: now)
        // Feeds that contained each other go on without this one.
        if link.isLoop { echo.graph.remove(link.id) }
    }
}

/// The log of sessions.
extension Collector {
    /// The time for which a session has to last so that all its lines are logged.
    private static let fullLogTime = Duration.seconds(10)

    /// The logger for what the peer of a session has caused.
    ///
    /// Anybody who reaches the port can cause any number of short sessions.
    func logger(of link: AgentLink, _ now: MonotonicTime) -> Logger {
        link.source == nil && now - link.connectedAt < Self.fullLogTime ? doorLogger : logger
    }

    /// Logs the end of a session.
    func reportEnd(of link: AgentLink, _ reason: String, _ now: MonotonicTime) {
        var values = ["agent": link.label, "reason": reason]
        if link.isLoop {
            // A person has to act.
            values["remedy"] = AgentLink.loopRemedy
            view.warn("agent gone", values, logger)
        } else if link.counters == nil, !link.isProbe {
            view.warn("agent not captured from", values, logger(of: link, now))
        } else {
            let text = link.isProbe ? "connection closed without data" : "agent gone"
            view.note(text, values, logger(of: link, now))
        }
    }
}
