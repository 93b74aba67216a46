/// An IP network in CIDR form: the addresses that share the first `prefixBitCount` bits.
package struct IPNetwork: Hashable, Sendable, CustomStringConvertible {
    /// The lowest address: all bits behind the prefix are zero.
    package let address: IPAddress
    package let prefixBitCount: Int

    /// Makes the network around an address.
    ///
    /// Bits behind the prefix are cleared. A prefix longer than the address is cut to its length.
    package init(_ address: IPAddress, prefixBitCount: Int) {
        let bitCount = min(max(prefixBitCount, 0), address.family.bitCount)
        self.prefixBitCount = bitCount
        let mask = Self.mask(of: address.family, bitCount)
        switch address.family {
        case .ipv4:
            self.address = IPAddress(ipv4: UInt32(truncatingIfNeeded: address.low & mask.low))
        case .ipv6:
            self.address = IPAddress(
                ipv6High: address.high & mask.high, low: address.low & mask.low)
        }
    }

    /// Reads `"10.244.0.0/16"` or `"fd00:10:244::/56"`; an address alone is a network of one.
    ///
    /// Bits behind the prefix are cleared: people write `10.244.1.7/24` for `10.244.1.0/24`.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let address = IPAddress(String(parts[0])) else { return nil }
        var bitCount = address.family.bitCount
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let number = Int(parts[1]), number <= bitCount
            else { return nil }
            bitCount = number
        }
        self.init(address, prefixBitCount: bitCount)
    }

    package var family: IPAddress.Family { address.family }

    /// The netmask, as an address-sized number.
    package var mask: (high: UInt64, low: UInt64) { Self.mask(of: family, prefixBitCount) }

    /// Whether an address is inside the network.
    @inlinable
    package func contains(_ other: IPAddress) -> Bool {
        let mask = mask
        return other.family == family && other.high & mask.high == address.high
            && other.low & mask.low == address.low
    }

    /// Whether some address is inside both networks.
    package func overlaps(_ other: Self) -> Bool {
        contains(other.address) || other.contains(address)
    }

    package var description: String { "\(address)/\(prefixBitCount)" }

    @usableFromInline
    package static func mask(
        of family: IPAddress.Family, _ bitCount: Int
    ) -> (high: UInt64, low: UInt64) {
        switch family {
        case .ipv4: (0, (UInt64.max << (32 - bitCount)) & 0xffff_ffff)
        case .ipv6: (Self.ones(bitCount), Self.ones(bitCount - 64))
        }
    }

    /// Returns a word whose first bits are ones: none for a count below 1, all for one above 63.
    private static func ones(_ bitCount: Int) -> UInt64 {
        bitCount <= 0 ? 0 : bitCount >= 64 ? .max : .max << (64 - bitCount)
    }
}
