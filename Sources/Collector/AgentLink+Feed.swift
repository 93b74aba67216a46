import RPCAP
import Time

/// The agent's own feed, which is not to be in its capture.
extension AgentLink {
    /// Why a link is ended whose agent cannot leave its feed out.
    static let loopReason = "its packets contain its own feed, which would grow without end"
    /// What a person can do about it.
    static let loopRemedy = """
        leave the feed out with the filter 'not host ADDRESS'; something translates the addresses \
        or wraps the packets on the way, or the daemon ignores filters
        """
    /// The time for which such an agent is left alone.
    static let loopPause = Duration.seconds(600)

    /// Why one is not captured from that comes back before.
    static let restReason = "its packets contained its own feed less than ten minutes ago"

    /// Whether the agent captured its own feed to the end.
    var isLoop: Bool { endReason == Self.loopReason }

    /// Looks for the feed in a packet.
    func examine(
        _ record: PacketRecord, _ frame: RawSpan, _ echo: inout FeedEcho, now: MonotonicTime
    ) {
        activeAt = now
        feed.examine(record, frame, &echo, now: now)
    }

    /// Has the agent leave out the connections that the collector has now.
    ///
    /// - Returns: Whether it was told anything new.
    @discardableResult
    func excludeFeed(now: MonotonicTime) -> Bool {
        guard state == .capturing,
            let filter = feed.nextFilter(linkType, options.wantedFilter)
        else { return false }
        update(filter, now: now)
        return true
    }

    /// Deals with a feed that keeps itself going: by a filter if one can help, or else by its end.
    func endLoop(hasNeighbours: @autoclosure () -> Bool, now: MonotonicTime) {
        guard feed.isLoop, endReason == nil else { return }
        guard feed.mayRetry(hasNeighbours: hasNeighbours(), now: now), excludeFeed(now: now) else {
            return end(Self.loopReason)
        }
        feed.waitForFilter(now: now)
    }

    /// Warns if no filter can leave the feed out since it would be too long.
    func warnOfLongFilter() {
        guard feed.isFilterTooLong else { return }
        note(
            "the filter: with what leaves this collector's connections out the filter would be too long, "
                + "so the agent may capture its own feed: begin the filter with 'not host ADDRESS'")
    }
}
