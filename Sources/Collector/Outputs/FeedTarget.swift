import Addressing
import Log
import Time

/// A listener that is dialled to get the feed, and dialled again when it is gone.
struct FeedTarget {
    let name: String
    let dialer: Dialer
    /// The throttle of the log lines about it.
    var lines = PeerLogThrottle()
    /// The connection, while there is one.
    private(set) var reader: FeedReader?
    private(set) var connectedAt: MonotonicTime?
    /// Packets that came while there was no connection.
    var lostCount: UInt64 = 0
    private var past = (packets: UInt64(0), bytes: UInt64(0), lost: UInt64(0))

    init(_ place: HostPort) {
        name = "\(place)"
        dialer = Dialer(host: place.host, port: place.port ?? FeedOptions.standardPort)
    }

    /// Records that it is connected.
    mutating func begin(_ reader: FeedReader, now: MonotonicTime) {
        self.reader = reader
        connectedAt = now
    }

    /// Records that the connection is gone, and schedules the next try.
    mutating func end(_ reader: FeedReader, now: MonotonicTime) {
        past.packets &+= reader.packetCount
        past.bytes &+= reader.byteCount
        past.lost &+= reader.lostCount
        dialer.end(connectedAt: connectedAt, now: now)
        (self.reader, connectedAt) = (nil, nil)
    }

    /// Whether its connection works or has worked: one that took packets has, however short that was.
    func hasWorked(now: MonotonicTime) -> Bool {
        guard let reader, let connectedAt else { return false }
        return reader.packetCount > 0 || now >= connectedAt + PeerLogThrottle.goodTime
    }

    /// Packets that were sent, over all connections.
    var packetCount: UInt64 { past.packets &+ (reader?.packetCount ?? 0) }
    var byteCount: UInt64 { past.bytes &+ (reader?.byteCount ?? 0) }
    /// Packets for which there was no room.
    var slowCount: UInt64 { past.lost &+ (reader?.lostCount ?? 0) }
}
