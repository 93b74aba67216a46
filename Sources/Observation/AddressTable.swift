import Addressing

/// A table of addresses with a number each, which is made once and read for each request.
///
/// A set's hash takes longer than all else that is done to a request. This one is short, and its
/// secret keeps pods from choosing addresses that collide.
struct AddressTable: Sendable {
    private let slots: [Slot]
    private let secret = UInt64.random(in: .min ... .max) | 1

    private struct Slot {
        var address = IPAddress(ipv4: 0)
        var value: UInt32 = 0
        var isTaken = false
    }

    init(_ values: [IPAddress: UInt32]) {
        // At most half full, so that a search ends after two or three slots.
        var count = 2
        while count < values.count * 2 { count *= 2 }
        var slots = [Slot](repeating: Slot(), count: count)
        for (address, value) in values {
            var index = Self.hash(address, secret) & (count - 1)
            while slots[index].isTaken { index = (index + 1) & (count - 1) }
            slots[index] = Slot(address: address, value: value, isTaken: true)
        }
        self.slots = slots
    }

    /// The number of an address; nil if it is not in the table.
    subscript(address: IPAddress) -> UInt32? {
        var index = Self.hash(address, secret) & (slots.count - 1)
        while slots[index].isTaken {
            let slot = slots[index]
            if slot.address.low == address.low, slot.address.high == address.high,
                slot.address.family == address.family
            {
                return slot.value
            }
            index = (index + 1) & (slots.count - 1)
        }
        return nil
    }

    private static func hash(_ address: IPAddress, _ secret: UInt64) -> Int {
        Int(truncatingIfNeeded: (secret ^ address.high).folded(with: address.low ^ secret))
    }
}

extension UInt64 {
    /// The product of two numbers, both halves of which are folded into one.
    func folded(with other: UInt64) -> UInt64 {
        let product = multipliedFullWidth(by: other)
        return product.high ^ product.low
    }
}
