import BPF
import Linux
import RPCAP
import Time

/// A watch over one agent, so that it does not capture what it sends to this collector.
struct FeedWatch {
    private let connections: OwnConnections
    private let link: Int
    /// The part of the agent's packets that has come before.
    private var share = EchoShare()
    /// The version of the connections that the agent's filter drops; nil if it drops none.
    private var excludedVersion: Int?
    /// Whether the agent leaves its own feed out without being told.
    private var leavesFeedOut = false
    /// When to look at its packets again.
    private var resumption = MonotonicTime.zero

    /// The time in which packets come that an agent has captured before it takes a filter.
    private static let filterTime = Duration.seconds(2)

    init(_ connections: OwnConnections, of link: Int) {
        (self.connections, self.link) = (connections, link)
    }

    /// Begins with the ends of the link's own connections.
    mutating func begin(_ ends: [SocketAddress], at device: Device) {
        connections.set(ends, of: link)
        leavesFeedOut = device.isPreselected
    }

    /// Returns the filter to start a capture with.
    ///
    /// podwire's agents leave their feed out. They are not given a filter that they would run on each
    /// packet for nothing.
    mutating func firstFilter(_ linkType: UInt16, _ wanted: Program) -> Program {
        leavesFeedOut ? wanted : nextFilter(linkType, wanted) ?? wanted
    }

    /// Whether the agent's filter lacks connections that there are now.
    var isOutdated: Bool { excludedVersion != connections.version && !leavesFeedOut }

    /// Returns a filter that drops the connections that there are now.
    ///
    /// - Returns: Nil if the agent has such a filter, or none can be made.
    mutating func nextFilter(_ linkType: UInt16, _ wanted: Program) -> Program? {
        guard excludedVersion != connections.version else { return nil }
        excludedVersion = connections.version
        return connections.filter(of: link, linkType, otherwise: wanted)
    }

    /// Looks at a packet, if it is this one's turn.
    mutating func examine(_ frame: RawSpan, _ echo: borrowing FeedEcho, now: MonotonicTime) {
        guard now >= resumption, share.wantsFrame(now: now) else { return }
        share.count(byteCount: frame.byteCount, isEcho: echo.isContained(in: frame))
    }

    /// Whether the feed keeps itself going.
    var isLoop: Bool { share.isLoop }

    /// Waits until a new filter can have an effect.
    mutating func waitForFilter(now: MonotonicTime) {
        share = EchoShare()
        resumption = now + Self.filterTime
    }
}
