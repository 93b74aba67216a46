import RPCAP
import Time

/// The agent's own feed, which is not to be in its capture.
extension AgentLink {
    /// Why a link is ended whose agent cannot leave its feed out.
    static let loopReason = """
        its packets contain its own feed, which would grow without end: something translates the \
        addresses or wraps the packets on the way, or it ignores filters; leave the feed out with --bpf
        """
    /// The time for which such an agent is left alone.
    static let loopPause = Duration.seconds(600)

    /// Why one is not captured from that comes back before.
    static let restReason = "its packets contained its own feed less than ten minutes ago"

    /// Whether the agent captured its own feed to the end.
    var isLoop: Bool { endReason == Self.loopReason }

    /// Looks for the feed in a packet.
    func examine(_ frame: RawSpan, _ echo: borrowing FeedEcho, now: MonotonicTime) {
        feed.examine(frame, echo, now: now)
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

    /// Deals with a feed that keeps itself going: by a filter first, then by its end.
    func endLoop(now: MonotonicTime) {
        guard feed.isLoop, endReason == nil else { return }
        if excludeFeed(now: now) { feed.waitForFilter(now: now) } else { end(Self.loopReason) }
    }
}
