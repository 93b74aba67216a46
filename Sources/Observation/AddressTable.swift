import Addressing

/// A table of addresses with a number each, which is made once and read for each request.
///
/// A set's hash takes longer than all else that is done to a request. This one is short, and its
/// secret keeps pods from choosing addresses that collide.
struct AddressTable: Sendable {
    private let slots: [Slot]
    private let secret = UInt64.random(in: .min ... .max) | 1

    private struct Slot {
        var high: UInt64 = 0
        var low: UInt64 = 0
        var value: UInt32 = 0
        var isTaken = false
    }

    init(_ values: [IPAddress: UInt32]) {
        // At most half full, so that a search ends after two or three slots.
        var count = 2
        while count < values.count * 2 { count *= 2 }
        var slots = [Slot](repeating: Slot(), count: count)
        for (address, value) in values {
            let (high, low) = Self.numbers(address)
            var index = Self.hash(high, low, secret) & (count - 1)
            while slots[index].isTaken { index = (index + 1) & (count - 1) }
            slots[index] = Slot(high: high, low: low, value: value, isTaken: true)
        }
        self.slots = slots
    }

    /// The number of an address; nil if it is not in the table.
    subscript(address: IPAddress) -> UInt32? {
        let (high, low) = Self.numbers(address)
        var index = Self.hash(high, low, secret) & (slots.count - 1)
        while slots[index].isTaken {
            if slots[index].low == low, slots[index].high == high { return slots[index].value }
            index = (index + 1) & (slots.count - 1)
        }
        return nil
    }

    /// An address as two numbers: an IPv4 address becomes a multicast one of IPv6, which no pod has.
    private static func numbers(_ address: IPAddress) -> (high: UInt64, low: UInt64) {
        switch address.family {
        case .ipv4: (.max, address.low)
        case .ipv6: (address.high, address.low)
        }
    }

    private static func hash(_ high: UInt64, _ low: UInt64, _ secret: UInt64) -> Int {
        Int(truncatingIfNeeded: (secret ^ high).folded(with: low ^ secret))
    }
}

/// The last six bits of some addresses, which most other addresses do not have.
struct AddressBits: Sendable {
    private var mask: UInt64 = 0

    /// The bits of all addresses.
    static var all: AddressBits {
        var bits = AddressBits()
        bits.mask = .max
        return bits
    }

    var isEmpty: Bool { mask == 0 }

    /// Adds an address, by its last eight bytes.
    mutating func insert(_ low: UInt64) { mask |= 1 &<< low }

    /// Whether an address may be one of them.
    @inline(__always)
    func contain(_ low: UInt64) -> Bool { mask & (1 &<< low) != 0 }
}

extension UInt64 {
    /// The product of two numbers, both halves of which are folded into one.
    func folded(with other: UInt64) -> UInt64 {
        let product = multipliedFullWidth(by: other)
        return product.high ^ product.low
    }
}
