import Addressing
import CLinux

extension RingPacket {
    /// A hash that tells the packet from all others of its interface, and is the same in all rings.
    ///
    /// The hash is of the time, the length and the first 128 bytes. Two packets with the same hash are
    /// the same, or came on two processors within one nanosecond and differ only behind these bytes.
    ///
    /// It is nil if the kernel has not stamped the packet on arrival (see `PacketStamps`). The kernel
    /// stamps no TCP segment that another namespace of the node has sent: it bears the time at which its
    /// sender's device is to send it (`skb_clear_tstamp` in the kernel's skbuff.h). So the hash of such
    /// a segment has no time. It has the numbers of TCP, and over IPv4 that of the packet.
    package var identity: UInt64? {
        guard word(HeaderOffset.status) & UInt32(TP_STATUS_TS_SOFTWARE) != 0 else {
            return isTCP ? contentIdentity : nil
        }
        return hash(from: nanosecondsSince1970 ^ UInt64(wireByteCount) << 48)
    }

    /// Whether the packet is a TCP segment, as far as its IP header says so.
    private var isTCP: Bool {
        guard bytes.byteCount > Self.protocolIPv4 else { return false }
        return switch bytes.uint16(at: 12) {
        case 0x0800: bytes.uint8(at: Self.protocolIPv4) == Self.tcp
        case 0x86dd: bytes.uint8(at: Self.protocolIPv6) == Self.tcp
        default: false
        }
    }

    /// Where the protocol is in a frame over IPv4, and over IPv6.
    private static let protocolIPv4 = 14 + 9
    private static let protocolIPv6 = 14 + 6
    private static let tcp: UInt8 = 6

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
