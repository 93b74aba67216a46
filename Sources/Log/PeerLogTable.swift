package import Time

/// The throttles of peers that dial, by a name for each, such as its address.
///
/// Only those are kept whose last session has failed, and of these a bounded number.
package struct PeerLogTable: Sendable {
    private var entries: [String: (throttle: PeerLogThrottle, usedAt: MonotonicTime)] = [:]

    /// The most peers: a thousand nodes that fail at once; of more some have lines too many.
    package static let countMax = 1024

    /// A table without peers.
    package init() {}

    /// The throttle of a peer, a new one if it is not kept.
    package func throttle(of name: String) -> PeerLogThrottle {
        entries[name]?.throttle ?? PeerLogThrottle()
    }

    /// Changes the throttle of a peer.
    package mutating func update<Result>(
        _ name: String, now: MonotonicTime, _ body: (inout PeerLogThrottle) -> Result
    ) -> Result {
        var throttle = throttle(of: name)
        let result = body(&throttle)
        entries[name] = (throttle, now)
        if entries.count > Self.countMax,
            let oldest = entries.min(by: { $0.value.usedAt < $1.value.usedAt })
        {
            entries[oldest.key] = nil
        }
        return result
    }

    /// Records that a session has worked, so the peer need not be kept.
    ///
    /// - Returns: The number of sessions that had failed before.
    package mutating func recordSuccess(_ name: String) -> Int {
        guard var entry = entries.removeValue(forKey: name) else { return 0 }
        return entry.throttle.recordSuccess()
    }
}
