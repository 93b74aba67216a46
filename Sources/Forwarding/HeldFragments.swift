import Addressing
package import Observation
package import PacketRing
package import Packets
package import Time

/// Fragments that came before the first fragment of their datagram, which alone has the ports.
///
/// They are kept for as long as reordering in a network can take, in memory that is set aside with
/// the first of them.
package struct HeldFragments {
    /// The fragments in the order in which they came.
    private var fragments: [Fragment] = []
    private var memory: [UInt8] = []
    private var freeSlots: [Int] = []
    /// The number of bytes in all fragments.
    package private(set) var byteCount = 0

    /// The most fragments that are held.
    private let countMax: Int

    /// The default of `countMax`: the rest of five datagrams of 64 KiB.
    package static let countMax = 256
    /// The longest fragment that is held: a jumbo frame, since no wire carries larger ones.
    package static let byteCountMax = 9216
    /// The longest time that a fragment is held; after it the first fragment is lost.
    private static let ageMax = Duration.seconds(1)

    /// A fragment, and where it was seen.
    package struct Fragment {
        fileprivate let datagram: DatagramKey
        fileprivate let expiresAt: MonotonicTime
        fileprivate let slot: Int
        fileprivate let byteCount: Int
        fileprivate let details: Packet.Details
        /// The edge at which it was seen.
        package let point: ObservationPoint
        /// The counters of that edge.
        package let counters: FrameCounters
    }

    /// Creates an empty set.
    package init(countMax: Int = Self.countMax) {
        self.countMax = countMax
    }

    /// The number of fragments.
    package var count: Int { fragments.count }

    /// Keeps a fragment.
    ///
    /// - Returns: False if there is no room for it.
    package mutating func hold(
        _ packet: borrowing Packet, of datagram: DatagramKey, at point: ObservationPoint,
        _ counters: FrameCounters, now: MonotonicTime
    ) -> Bool {
        let byteCount = packet.bytes.byteCount
        guard byteCount <= Self.byteCountMax, fragments.count < countMax else { return false }
        if memory.isEmpty { setMemoryAside() }
        let slot = freeSlots.removeLast()
        for index in 0..<byteCount {
            memory[slot * Self.byteCountMax + index] = packet.bytes.uint8(at: index)
        }
        self.byteCount += byteCount
        fragments.append(
            Fragment(
                datagram: datagram, expiresAt: now + Self.ageMax, slot: slot,
                byteCount: byteCount, details: packet.details, point: point, counters: counters))
        return true
    }

    private mutating func setMemoryAside() {
        memory = Array(repeating: 0, count: countMax * Self.byteCountMax)
        freeSlots = Array(0..<countMax)
        fragments.reserveCapacity(countMax)
    }

    /// Removes the oldest fragment of a datagram, and returns it.
    package mutating func take(of datagram: DatagramKey) -> Fragment? {
        fragments.firstIndex { $0.datagram == datagram }.map { take(at: $0) }
    }

    /// Removes the oldest fragment that is counted by these counters, and returns it.
    package mutating func take(countedBy counters: FrameCounters) -> Fragment? {
        fragments.firstIndex { $0.counters === counters }.map { take(at: $0) }
    }

    /// Removes the oldest fragment if it has been held for too long, and returns it.
    package mutating func takeExpired(now: MonotonicTime) -> Fragment? {
        guard let first = fragments.first, now >= first.expiresAt else { return nil }
        return take(at: 0)
    }

    /// Removes the oldest fragment, and returns it.
    package mutating func takeFirst() -> Fragment? {
        fragments.isEmpty ? nil : take(at: 0)
    }

    private mutating func take(at index: Int) -> Fragment {
        let fragment = fragments.remove(at: index)
        freeSlots.append(fragment.slot)
        byteCount -= fragment.byteCount
        return fragment
    }

    /// The packet of the fragment that was removed last; the next `hold` may overwrite it.
    @_lifetime(borrow self)
    package func packet(_ fragment: Fragment) -> Packet {
        let start = fragment.slot * Self.byteCountMax
        return Packet(
            fragment.details, memory.wire.extracting(start..<start + fragment.byteCount))
    }
}
