import Addressing
import BPF
import Linux
import RPCAP
import Time

/// A watch over one agent, so that it does not capture what it sends to this collector.
struct FeedWatch {
    private let connections: OwnConnections
    private let link: Int
    private let host: IPAddress
    private let isSampled: Bool
    /// The part of the agent's packets that has come before.
    private var share: EchoShare
    private var pace = EchoPace()
    /// The version of the connections that the agent's filter drops; nil if it drops none.
    private var excludedVersion: Int?
    /// Whether the agent leaves its own feed out without being told.
    private var leavesFeedOut = false
    /// Whether no filter has room for the link's connections.
    private(set) var isFilterTooLong = false
    /// When to look at its packets again.
    private var resumption = MonotonicTime.zero
    /// When another filter may be tried once more.
    private var nextRetry = MonotonicTime.zero

    /// The time in which packets come that an agent has captured before it takes a filter.
    private static let filterTime = Duration.seconds(2)
    /// The time between two filters that are tried against a loop.
    private static let retryTime = Duration.seconds(60)

    init(_ connections: OwnConnections, of link: Int, at host: IPAddress, isSampled: Bool) {
        (self.connections, self.link, self.host) = (connections, link, host)
        self.isSampled = isSampled
        share = EchoShare(of: link, isSampled: isSampled)
    }

    /// Begins with the ends of the link's own connections.
    mutating func begin(_ ends: [SocketAddress], at device: Device) {
        connections.set(ends, of: link, at: host)
        leavesFeedOut = device.isStream
    }

    /// Returns the filter to start a capture with.
    ///
    /// podwire's agents leave their feed out. They are not given a filter that they would run on each
    /// packet for nothing.
    mutating func firstFilter(_ linkType: UInt16, _ wanted: Program) -> Program {
        needsNoFilter ? wanted : nextFilter(linkType, wanted) ?? wanted
    }

    /// Whether the agent captures nothing of the collector's without being told.
    private var needsNoFilter: Bool {
        leavesFeedOut && connections.outputVersion(of: host) == 0
    }

    /// Whether the agent's filter lacks connections with its host that there are now.
    ///
    /// False of an agent that has no such filter, as it needs none.
    var isOutdated: Bool {
        guard let excludedVersion else { return connections.outputVersion(of: host) > 0 }
        return excludedVersion < connections.version(of: host)
    }

    /// Returns a filter that drops the connections that there are now.
    ///
    /// - Returns: Nil if the agent has such a filter, or none can be made.
    mutating func nextFilter(_ linkType: UInt16, _ wanted: Program) -> Program? {
        guard excludedVersion == nil || isOutdated else { return nil }
        excludedVersion = connections.version
        switch connections.filter(of: link, linkType, otherwise: wanted) {
        case .filter(let filter): return filter
        case .unknownForm: return nil
        case .tooLong:
            isFilterTooLong = true
            return nil
        }
    }

    /// Looks at a packet, if it is this one's turn.
    mutating func examine(
        _ record: PacketRecord, _ frame: RawSpan, _ echo: inout FeedEcho, now: MonotonicTime
    ) {
        guard let look = echo.take(record, frame, of: link, pace: &pace), now >= resumption else {
            return
        }
        share.count(
            weight: look.weight, frameByteCount: frame.byteCount,
            isWhole: record.byteCount >= record.wireByteCount, look.finding)
    }

    /// Deals with what was found, once packets have been read.
    mutating func advance(_ echo: inout FeedEcho, now: MonotonicTime) {
        guard now >= resumption else { return }
        share.advance(&echo.graph, now: now)
    }

    /// Whether the feed keeps itself going.
    var isLoop: Bool { share.isLoop }

    /// A link whose feed stands in this one's packets, without a way back.
    var stranger: Int? { share.stranger }

    /// Whether another filter can end the loop.
    ///
    /// It can if the agent was trusted to need none, or if connections of its host have come. The
    /// latter is tried once a minute at most, as anybody may come and go behind the host's address.
    mutating func mayRetry(hasNeighbours: Bool, now: MonotonicTime) -> Bool {
        guard excludedVersion != nil else { return true }
        guard hasNeighbours, isOutdated, now >= nextRetry else { return false }
        nextRetry = now + Self.retryTime
        return true
    }

    /// Waits until a new filter can have an effect.
    mutating func waitForFilter(now: MonotonicTime) {
        share = EchoShare(of: link, isSampled: isSampled)
        resumption = now + Self.filterTime
    }
}
