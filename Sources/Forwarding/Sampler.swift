package import RPCAP

/// A sampler that chooses which packets a client gets, if it does not want all.
package struct Sampler: Sendable {
    let sampling: Sampling
    /// The number of packets since the last one that was kept, with that one.
    private var packetCount: UInt32 = 0
    /// The time of the last packet that was kept, nanoseconds since 1970.
    private var keptAt: UInt64?

    /// A step back of the packets' time that only a changed clock explains.
    ///
    /// A ring that has not been read for that long is full, or the peer is gone.
    private static let setbackNanosecondsMin: UInt64 = 10_000_000_000

    /// A sampler that has seen no packet.
    package init(_ sampling: Sampling) { self.sampling = sampling }

    /// Whether every packet is kept.
    package var admitsAll: Bool { sampling == .none }

    /// Decides whether to keep a packet.
    ///
    /// Times need not grow, since each edge has its own blocks: a packet from before the last kept
    /// one belongs to an interval that has had its packet. Only a time that lies further back than
    /// blocks ever do comes from a clock that was set back.
    ///
    /// - Parameter time: When the packet passed, by the node's clock.
    /// - Returns: Whether to keep the packet.
    package mutating func admit(nanosecondsSince1970 time: UInt64) -> Bool {
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
