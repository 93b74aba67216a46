/// An Ethernet address.
package struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    /// The six bytes as a big-endian number.
    package let value: UInt64

    package static let broadcast = Self(value: 0xffff_ffff_ffff)

    package init(value: UInt64) {
        self.value = value & 0xffff_ffff_ffff
    }

    /// Reads six bytes of a frame.
    ///
    /// The caller has checked that they are there.
    @inlinable
    package init(_ bytes: RawSpan, at offset: Int) {
        self.init(
            value: UInt64(bytes.uint16(at: offset)) << 32 | UInt64(bytes.uint32(at: offset + 2)))
    }

    /// Reads `"02:42:0a:f4:01:02"`.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        // The standard library would read a sign, too.
        guard parts.count == 6,
            parts.allSatisfy({ $0.utf8.count == 2 && $0.allSatisfy(\.isHexDigit) })
        else { return nil }
        var value: UInt64 = 0
        for part in parts {
            guard let byte = UInt8(part, radix: 16) else { return nil }
            value = value << 8 | UInt64(byte)
        }
        self.value = value
    }

    /// The bytes in the order in which a frame has them.
    package var bytes: [UInt8] {
        stride(from: 40, through: 0, by: -8).map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    /// Whether it is a group address: broadcast or multicast.
    package var isGroup: Bool { value & 0x0100_0000_0000 != 0 }

    package var description: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
