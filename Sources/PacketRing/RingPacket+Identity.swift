import CLinux

extension RingPacket {
    /// A hash that tells the packet from all others of its interface, and is the same in all rings.
    ///
    /// It is nil if the kernel has not stamped the packet on arrival (see `PacketStamps`). The hash
    /// is of the time, the length and the first 128 bytes. Two packets with the same hash are the
    /// same, or came on two processors within one nanosecond and differ only behind these bytes.
    package var identity: UInt64? {
        guard word(HeaderOffset.status) & UInt32(TP_STATUS_TS_SOFTWARE) != 0 else { return nil }
        return hash(from: nanosecondsSince1970 ^ UInt64(wireByteCount) << 48)
    }

    /// A hash of the length and the first 128 bytes, which is the same at both ends of a device pair.
    ///
    /// A packet that is sent again can have the same one.
    package var contentIdentity: UInt64 { hash(from: UInt64(wireByteCount)) }

    private func hash(from start: UInt64) -> UInt64 {
        var hash = Self.mix(start)
        let count = min(bytes.byteCount, Self.hashedByteCount)
        var offset = 0
        // Safety: the conditions keep the loads inside the bytes, and every bit pattern is an integer.
        while offset + 8 <= count {
            let word = unsafe bytes.unsafeLoadUnaligned(
                fromUncheckedByteOffset: offset, as: UInt64.self)
            hash = Self.mix(hash ^ word)
            offset += 8
        }
        while offset < count {
            let byte = unsafe bytes.unsafeLoad(
                fromUncheckedByteOffset: offset, as: UInt8.self)
            hash = Self.mix(hash ^ UInt64(byte))
            offset += 1
        }
        return hash
    }

    private static var hashedByteCount: Int { 128 }

    /// Combines both halves of a product with an odd number, which spreads every bit.
    private static func mix(_ value: UInt64) -> UInt64 {
        let product = (value ^ 0x9e37_79b9_7f4a_7c15).multipliedFullWidth(
            by: 0xd6e8_feb8_6659_fd93)
        return product.high ^ product.low
    }
}
