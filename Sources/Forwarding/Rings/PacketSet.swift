/// A bounded multiset of packets by their identities.
///
/// A packet may be in it several times. Its memory is taken when it is made.
package struct PacketSet: ~Copyable, Sendable {
    /// A hash table with open addressing: a packet is in the first free slot from its own on.
    private var slots: [UInt64]
    private let countMax: Int
    private var usedCount = 0

    private static let free: UInt64 = 0
    private static let removed: UInt64 = 1

    /// Creates an empty set.
    package init(countMax: Int) {
        // At most half of the slots are used, so that searches stay short.
        var slotCount = 16
        while slotCount < 2 * countMax { slotCount *= 2 }
        slots = [UInt64](repeating: Self.free, count: slotCount)
        self.countMax = countMax
    }

    /// Adds a packet.
    ///
    /// - Returns: Whether there was room.
    package mutating func insert(_ identity: UInt64) -> Bool {
        guard usedCount < countMax else { return false }
        let key = Self.key(identity)
        var slot = start(key)
        while slots[slot] != Self.free { slot = next(slot) }
        slots[slot] = key
        usedCount += 1
        return true
    }

    /// Removes a packet once.
    ///
    /// - Returns: Whether it was there.
    package mutating func remove(_ identity: UInt64) -> Bool {
        let key = Self.key(identity)
        var slot = start(key)
        while slots[slot] != key {
            guard slots[slot] != Self.free else { return false }
            slot = next(slot)
        }
        slots[slot] = Self.removed
        return true
    }

    private static func key(_ identity: UInt64) -> UInt64 {
        identity > removed ? identity : identity + 2
    }

    private func start(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key) & (slots.count - 1) }

    private func next(_ slot: Int) -> Int { (slot + 1) & (slots.count - 1) }
}
