import Frames

/// A packet on the data connection: a message header, a packet header, and the frame.
public struct PacketRecord: Equatable, Sendable {
    package var seconds: UInt32
    package var microseconds: UInt32
    /// How many bytes of the frame follow.
    package var byteCount: Int
    /// How many it had on the wire.
    package var wireByteCount: Int
    /// 1 for the first packet of a capture.
    package var number: UInt32

    /// Both headers together.
    @inlinable public static var headerByteCount: Int { 28 }
    /// What the message's length counts beside the frame.
    @inlinable public static var packetHeaderByteCount: Int { 20 }

    /// Writes both headers at the start of a span of at least 28 bytes.
    @inlinable
    public static func store(
        into bytes: inout MutableRawSpan, nanoseconds: UInt64, byteCount: Int, wireByteCount: Int,
        number: UInt32
    ) {
        let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        store(
            into: &bytes, seconds: UInt32(truncatingIfNeeded: seconds),
            microseconds: UInt32(truncatingIfNeeded: rest / 1000), byteCount: byteCount,
            wireByteCount: wireByteCount, number: number)
    }

    /// The same with a time as the kernel has it.
    @inlinable
    public static func store(
        into bytes: inout MutableRawSpan, seconds: UInt32, microseconds: UInt32, byteCount: Int,
        wireByteCount: Int, number: UInt32
    ) {
        store(0x0007_0000, at: 0, in: &bytes)
        store(UInt32(truncatingIfNeeded: byteCount + packetHeaderByteCount), at: 4, in: &bytes)
        store(seconds, at: 8, in: &bytes)
        store(microseconds, at: 12, in: &bytes)
        store(UInt32(truncatingIfNeeded: byteCount), at: 16, in: &bytes)
        store(UInt32(truncatingIfNeeded: wireByteCount), at: 20, in: &bytes)
        store(number, at: 24, in: &bytes)
    }

    /// Shortens the frame behind both headers; its length on the wire stays.
    static func cut(_ bytes: inout MutableRawSpan, toFrameByteCount byteCount: Int) {
        store(UInt32(byteCount + packetHeaderByteCount), at: 4, in: &bytes)
        store(UInt32(byteCount), at: 16, in: &bytes)
    }

    @inlinable
    static func store(_ value: UInt32, at offset: Int, in bytes: inout MutableRawSpan) {
        bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// Reads the packet header that follows the message header.
    init(packetHeader bytes: RawSpan) {
        seconds = bytes.uint32(at: 0)
        microseconds = bytes.uint32(at: 4)
        byteCount = Int(bytes.uint32(at: 8))
        wireByteCount = Int(bytes.uint32(at: 12))
        number = bytes.uint32(at: 16)
    }

    package var nanosecondsSince1970: UInt64 {
        UInt64(seconds) * 1_000_000_000 + UInt64(microseconds) * 1000
    }
}
