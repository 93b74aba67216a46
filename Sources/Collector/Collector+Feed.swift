import Linux
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
