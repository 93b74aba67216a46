package import RPCAP

/// Chooses the packets that a client wants, where it wants not all.
package struct Sampler: Sendable {
    private let sampling: Sampling
    /// How many packets have come since the last one that was kept, that one included.
    private var packetCount: UInt32 = 0
    /// The time of the last one that was kept.
    private var keptAt: UInt64?

    /// Rings that nobody reads for so long are full, or their peer is gone.
    private static let setbackNanosecondsMin: UInt64 = 10_000_000_000

    package init(_ sampling: Sampling) { self.sampling = sampling }

    /// Whether to keep a packet that passed at this time of the node's clock.
    ///
    /// Times need not grow: each edge has its own blocks, and what an edge has from the time before the
    /// last packet that was kept belongs to intervals that have had theirs. Only a time that lies
    /// further back than blocks ever do comes from a clock that has been set back.
    package mutating func keeps(nanosecondsSince1970 time: UInt64) -> Bool {
        switch sampling {
        case .none: return true
        case .onePacketIn(let count):
            let isFirst = packetCount == 0
            packetCount = packetCount &+ 1 >= count ? 0 : packetCount &+ 1
            return isFirst
        case .onePacketPerMilliseconds(let milliseconds):
            if let keptAt, time < keptAt &+ UInt64(milliseconds) * 1_000_000,
                time &+ Self.setbackNanosecondsMin > keptAt
            {
                return false
            }
            keptAt = time
            return true
        }
    }
}
