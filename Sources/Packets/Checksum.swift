import Addressing

/// Checksums of packets: the Internet checksum (RFC 1071), and SCTP's CRC32c.
package enum Checksum {
    /// Returns a checksum after two bytes that it covers have changed (RFC 1624, equation 3).
    package static func updated(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        ~folded(UInt32(~checksum) + UInt32(~old) + UInt32(new))
    }

    /// Returns a sum after two bytes that it covers have changed.
    ///
    /// A sum is not complemented. A partial checksum is the sum of the pseudo-header.
    package static func updatedSum(_ sum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
        folded(UInt32(sum) + UInt32(~old) + UInt32(new))
    }

    /// Returns the Internet checksum of bytes; an odd last byte is padded with zero.
    package static func of(_ bytes: RawSpan) -> UInt16 {
        ~sum(of: bytes)
    }

    /// Returns the ones' complement sum of bytes, not complemented, added to another.
    package static func sum(of bytes: RawSpan, onTopOf start: UInt16 = 0) -> UInt16 {
        var sum = InternetSum()
        sum.add(start)
        sum.add(bytes)
        return sum.value
    }

    /// Returns SCTP's checksum over bytes in which its own field is zero (RFC 9260, appendix A).
    package static func crc32c(of bytes: RawSpan) -> UInt32 {
        var rest = UInt32.max
        divide(bytes, &rest)
        return ~rest
    }

    /// Returns SCTP's checksum over bytes in which its own field, at an offset, counts as zero.
    package static func crc32c(of bytes: RawSpan, withoutFieldAt offset: Int) -> UInt32 {
        var rest = UInt32.max
        divide(bytes.extracting(..<offset), &rest)
        for _ in 0..<4 { rest = crc32cTable[Int(UInt8(truncatingIfNeeded: rest))] ^ rest >> 8 }
        divide(bytes.extracting((offset + 4)...), &rest)
        return ~rest
    }

    private static func divide(_ bytes: RawSpan, _ rest: inout UInt32) {
        for offset in 0..<bytes.byteCount {
            let index = Int(UInt8(truncatingIfNeeded: rest) ^ bytes.uint8(at: offset))
            rest = crc32cTable[index] ^ rest >> 8
        }
    }

    private static let crc32cTable = (0..<256 as Range<UInt32>).map { byte in
        (0..<8).reduce(byte) { rest, _ in rest & 1 == 0 ? rest >> 1 : 0x82f6_3b78 ^ rest >> 1 }
    }

    private static func folded(_ sum: UInt32) -> UInt16 {
        let once = sum & 0xffff + sum >> 16
        return UInt16(truncatingIfNeeded: once & 0xffff + once >> 16)
    }
}
