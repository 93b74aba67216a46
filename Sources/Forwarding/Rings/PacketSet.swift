/// A bounded set of packets by what tells them apart, in which one may be several times. Its memory
/// is taken when it is made.
package struct PacketSet: ~Copyable, Sendable {
    /// Open addressing: a packet is in the first free place from its own on.
    private var places: [UInt64]
    private let countMax: Int
    private var usedCount = 0

    private static let free: UInt64 = 0
    private static let removed: UInt64 = 1

    package init(countMax: Int) {
        // At most half of the places are used, so that ways stay short.
        var placeCount = 16
        while placeCount < 2 * countMax { placeCount *= 2 }
        places = [UInt64](repeating: Self.free, count: placeCount)
        self.countMax = countMax
    }

    /// Answers whether there was room.
    package mutating func insert(_ identity: UInt64) -> Bool {
        guard usedCount < countMax else { return false }
        let key = Self.key(identity)
        var place = start(key)
        while places[place] != Self.free { place = next(place) }
        places[place] = key
        usedCount += 1
        return true
    }

    /// Takes it out once. Answers whether it was there.
    package mutating func remove(_ identity: UInt64) -> Bool {
        let key = Self.key(identity)
        var place = start(key)
        while places[place] != key {
            guard places[place] != Self.free else { return false }
            place = next(place)
        }
        places[place] = Self.removed
        return true
    }

    private static func key(_ identity: UInt64) -> UInt64 {
        identity > removed ? identity : identity + 2
    }

    private func start(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key) & (places.count - 1) }

    private func next(_ place: Int) -> Int { (place + 1) & (places.count - 1) }
}
