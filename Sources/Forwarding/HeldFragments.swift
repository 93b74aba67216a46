import Addressing
package import Observation
package import PacketRing
import Packets
package import Time

/// Fragments that came before the first fragment of their datagram, which alone has the ports.
///
/// They are kept for as long as the kernel keeps them. Ordinary frames and jumbo frames have memory of
/// their own. When it is full, the oldest one makes room.
package struct HeldFragments {
    /// The fragments by their slots, short ones first.
    private var records: [Record?] = []
    private var shortFrames: FrameCells
    private var longFrames: FrameCells
    /// The slot of the first long one.
    private let firstLongSlot: Int32
    private let slotCount: Int
    /// The oldest and the newest fragment of each datagram.
    private var chains: [EdgeDatagram: Chain] = [:]
    /// The fragments that are kept for the same time, in memory of the same kind, by age.
    private var ages = [Chain?](repeating: nil, count: 2 * Size.allCases.count)
    /// The number of the fragment that is held next.
    private var next: UInt64 = 0
    /// The number of fragments.
    package private(set) var count = 0
    /// The number of bytes in all fragments.
    package private(set) var byteCount = 0

    /// The memory for all fragments: the kernel keeps as much (`ipfrag_high_thresh`).
    package static let memoryByteCount = 4 << 20
    /// The longest fragment that is held: a jumbo frame, since no wire carries larger ones.
    package static let byteCountMax = Size.long.byteCount
    /// The most fragments that are held.
    package static let countMax = Size.allCases.reduce(0) {
        $0 + memoryByteCount / 2 / $1.byteCount
    }

    /// The kinds of memory, each half of all.
    private enum Size: Int, CaseIterable {
        /// A frame with the usual 1,500 bytes, and its tags and tunnels.
        case short
        /// A jumbo frame.
        case long

        var byteCount: Int { self == .short ? 2048 : 9216 }

        /// The kind for a frame of this length, if there is one.
        init?(_ byteCount: Int) {
            guard byteCount <= Self.long.byteCount else { return nil }
            self = byteCount <= Self.short.byteCount ? .short : .long
        }
    }

    /// A list of slots, from the oldest to the newest.
    private struct Chain {
        var first: Int32
        var last: Int32
    }

    private struct Record {
        let fragment: Fragment
        /// The neighbours by age.
        var older: Int32
        var newer: Int32
        /// The next one of the same datagram.
        var following: Int32
    }

    /// The end of a list.
    private static let none: Int32 = -1

    /// A fragment, and where it was seen.
    package struct Fragment {
        fileprivate let datagram: EdgeDatagram
        fileprivate let slot: Int32
        fileprivate let number: UInt64
        fileprivate let byteCount: Int
        fileprivate let details: Packet.Details
        /// When it was held.
        package let heldAt: MonotonicTime
        /// The edge at which it was seen.
        package let point: ObservationPoint
        /// The counters of that edge.
        package let counters: EdgeTally
    }

    /// Creates an empty set.
    ///
    /// - Parameters:
    ///   - queueByteCount: The room for all fragments in a queue, if that is less than their memory.
    ///   - overhead: The bytes that each fragment takes there beside its own.
    package init(queueByteCount: Int = .max, overhead: Int = 0) {
        let counts = Size.allCases.map {
            min(
                Self.memoryByteCount / 2 / $0.byteCount,
                queueByteCount / 2 / ($0.byteCount + overhead))
        }
        let (shortCount, longCount) = (counts[0], counts[1])
        shortFrames = FrameCells(byteCount: Size.short.byteCount, countMax: shortCount)
        longFrames = FrameCells(byteCount: Size.long.byteCount, countMax: longCount)
        firstLongSlot = Int32(shortCount)
        slotCount = shortCount + longCount
    }
}

extension HeldFragments {
    /// Keeps a fragment.
    ///
    /// - Returns: False if there is no room for it: give the oldest one of its size up, if there is
    ///   one.
    package mutating func hold(
        _ packet: borrowing Packet, of datagram: EdgeDatagram, at point: ObservationPoint,
        _ counters: EdgeTally, now: MonotonicTime
    ) -> Bool {
        let byteCount = packet.bytes.byteCount
        guard let size = Size(byteCount), let slot = store(packet.bytes, size) else { return false }
        if records.isEmpty {
            records = Array(repeating: nil, count: slotCount)
            chains.reserveCapacity(slotCount)
        }
        let fragment = Fragment(
            datagram: datagram, slot: slot, number: next, byteCount: byteCount,
            details: packet.details, heldAt: now, point: point, counters: counters)
        next += 1
        count += 1
        self.byteCount += byteCount
        let list = Self.list(size, datagram)
        let older = ages[list]?.last ?? Self.none
        records[Int(slot)] = Record(
            fragment: fragment, older: older, newer: Self.none, following: Self.none)
        if older != Self.none { records[Int(older)]?.newer = slot }
        ages[list] = Chain(first: ages[list]?.first ?? slot, last: slot)
        if let chain = chains[datagram] {
            records[Int(chain.last)]?.following = slot
            chains[datagram] = Chain(first: chain.first, last: slot)
        } else {
            chains[datagram] = Chain(first: slot, last: slot)
        }
        return true
    }

    /// - Returns: The slot of the frame's copy; nil if there is no room for it.
    private mutating func store(_ bytes: RawSpan, _ size: Size) -> Int32? {
        switch size {
        case .short: shortFrames.store(bytes)
        case .long: longFrames.store(bytes).map { firstLongSlot + $0 }
        }
    }

    /// The list of those that are kept for the same time, in memory of the same kind.
    private static func list(_ size: Size, _ datagram: EdgeDatagram) -> Int {
        2 * size.rawValue + (datagram.isIPv6 ? 1 : 0)
    }
}

extension HeldFragments {
    /// Removes the oldest fragment of a datagram, and returns it.
    package mutating func take(of datagram: EdgeDatagram) -> Fragment? {
        chains[datagram].flatMap { take(at: $0.first) }
    }

    /// Removes the oldest fragment that is counted by these counters, and returns it.
    package mutating func take(countedBy counters: EdgeTally) -> Fragment? {
        var oldest: (slot: Int32, number: UInt64)?
        for case let chain? in ages {
            var slot = chain.first
            while slot != Self.none, let record = records[Int(slot)] {
                guard record.fragment.counters !== counters else {
                    let number = record.fragment.number
                    if oldest.map({ number < $0.number }) ?? true { oldest = (slot, number) }
                    break
                }
                slot = record.newer
            }
        }
        return oldest.flatMap { take(at: $0.slot) }
    }

    /// Removes a fragment that has been held for as long as its datagram may take.
    package mutating func takeExpired(now: MonotonicTime) -> Fragment? {
        for list in ages.indices {
            if let oldest = oldest(in: list), now - oldest.heldAt >= oldest.datagram.timeMax {
                return take(at: oldest.slot)
            }
        }
        return nil
    }

    /// Removes the oldest fragment, and returns it.
    package mutating func takeFirst() -> Fragment? {
        count == 0 ? nil : oldest(in: ages.indices).flatMap { take(at: $0) }
    }

    /// Whether the oldest fragment must go before one of this length is held.
    package func isFull(for byteCount: Int) -> Bool {
        switch Size(byteCount) {
        case .short: shortFrames.isFull
        case .long: longFrames.isFull
        case nil: false
        }
    }

    /// Removes the oldest fragment if one of this length finds no room, and returns it.
    package mutating func takeToMakeRoom(for byteCount: Int) -> Fragment? {
        guard isFull(for: byteCount), let size = Size(byteCount) else { return nil }
        let lists = 2 * size.rawValue..<2 * size.rawValue + 2
        return oldest(in: lists).flatMap { take(at: $0) }
    }

    private func oldest(in lists: Range<Int>) -> Int32? {
        var oldest: Fragment?
        for list in lists {
            guard let fragment = self.oldest(in: list) else { continue }
            if oldest.map({ fragment.number < $0.number }) ?? true { oldest = fragment }
        }
        return oldest?.slot
    }

    private func oldest(in list: Int) -> Fragment? {
        ages[list].flatMap { records[Int($0.first)]?.fragment }
    }

    private mutating func take(at slot: Int32) -> Fragment? {
        guard let record = records[Int(slot)], let size = Size(record.fragment.byteCount) else {
            return nil
        }
        let fragment = record.fragment
        records[Int(slot)] = nil
        if record.older != Self.none { records[Int(record.older)]?.newer = record.newer }
        if record.newer != Self.none { records[Int(record.newer)]?.older = record.older }
        let list = Self.list(size, fragment.datagram)
        if var chain = ages[list] {
            if chain.first == slot { chain.first = record.newer }
            if chain.last == slot { chain.last = record.older }
            ages[list] = chain.first == Self.none ? nil : chain
        }
        unchain(slot, record)
        switch size {
        case .short: shortFrames.giveBack(slot)
        case .long: longFrames.giveBack(slot - firstLongSlot)
        }
        count -= 1
        byteCount -= fragment.byteCount
        return fragment
    }

    /// Takes a slot, whose record is gone, out of the list of its datagram; it is nearly always first.
    private mutating func unchain(_ slot: Int32, _ record: Record) {
        let datagram = record.fragment.datagram
        guard let chain = chains[datagram] else { return }
        guard chain.first != slot else {
            chains[datagram] =
                record.following == Self.none
                ? nil : Chain(first: record.following, last: chain.last)
            return
        }
        var before = chain.first
        while let other = records[Int(before)], other.following != slot { before = other.following }
        records[Int(before)]?.following = record.following
        if chain.last == slot { chains[datagram] = Chain(first: chain.first, last: before) }
    }

    /// The packet of the fragment that was removed last; the next `hold` may overwrite it.
    @_lifetime(borrow self)
    package func packet(_ fragment: Fragment) -> Packet {
        fragment.slot < firstLongSlot
            ? Packet(fragment.details, shortFrames.bytes(fragment.slot, fragment.byteCount))
            : Packet(
                fragment.details,
                longFrames.bytes(fragment.slot - firstLongSlot, fragment.byteCount))
    }
}
