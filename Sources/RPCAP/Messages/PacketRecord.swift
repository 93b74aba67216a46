import Addressing

/// A packet on the data connection: a message header, a packet header, and the frame.
public struct PacketRecord: Equatable, Sendable {
    /// When it was captured, in seconds since 1970.
    package var seconds: UInt32
    package var microseconds: UInt32
    /// The length of the frame that follows.
    package var byteCount: Int
    /// The length that it had on the wire.
    package var wireByteCount: Int
    /// The packet's number; 1 for the first one of a capture.
    package var number: UInt32

    /// The length of both headers.
    @inlinable public static var headerByteCount: Int { 28 }
    /// The length of the packet header, which the message's length counts beside the frame.
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

    /// Writes both headers, with a time as the kernel has it.
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

    /// Shortens the frame behind both headers.
    ///
    /// Its length on the wire stays.
    static func cut(_ bytes: inout MutableRawSpan, toFrameByteCount byteCount: Int) {
        store(UInt32(byteCount + packetHeaderByteCount), at: 4, in: &bytes)
        store(UInt32(byteCount), at: 16, in: &bytes)
    }

    @inlinable
    static func store(_ value: UInt32, at offset: Int, in bytes: inout MutableRawSpan) {
        bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// Adds a number to those of all records, which are whole.
    package static func renumber(_ records: inout MutableRawSpan, by difference: UInt32) {
        guard difference != 0 else { return }
        var offset = 0
        while offset + headerByteCount <= records.byteCount {
            let byteCount = records.bytes.uint32(at: offset + 4)
            let number = records.bytes.uint32(at: offset + 24)
            store(number &+ difference, at: offset + 24, in: &records)
            offset += headerByteCount - packetHeaderByteCount + Int(byteCount)
        }
    }

    /// The length of the frame in the record at an offset, whose headers must be there.
    package static func frameByteCount(in records: RawSpan, at offset: Int) -> Int {
        Int(records.uint32(at: offset + 16))
    }

    /// Counts the records in the rest of a stream, whose first one may be incomplete.
    ///
    /// - Parameters:
    ///   - rest: The end of the stream.
    ///   - last: The number of the last record.
    /// - Returns: How many there are, counting one whose beginning is gone.
    package static func count(in rest: RawSpan, endingWith last: UInt32) -> Int {
        var offset = 0
        while offset + headerByteCount <= rest.byteCount {
            if let first = firstNumber(in: rest.extracting(droppingFirst: offset), last) {
                return Int(last &- first) + 1 + (offset > 0 ? 1 : 0)
            }
            offset += 1
        }
        return rest.byteCount > 0 ? 1 : 0
    }

    /// The number of the first record; nil if these bytes are not records up to the last one.
    ///
    /// A frame may contain anything, but not consecutive records that end where the stream ends.
    private static func firstNumber(in records: RawSpan, _ last: UInt32) -> UInt32? {
        let first = records.uint32(at: 24)
        var (offset, number) = (0, first)
        while offset + headerByteCount <= records.byteCount {
            let frameByteCount = Int(records.uint32(at: offset + 16))
            guard records.uint32(at: offset) == 0x0007_0000,
                Int(records.uint32(at: offset + 4)) == packetHeaderByteCount + frameByteCount,
                records.uint32(at: offset + 24) == number
            else { return nil }
            offset += headerByteCount + frameByteCount
            number &+= 1
        }
        return offset == records.byteCount && number == last &+ 1 ? first : nil
    }

    /// Reads the packet header that follows the message header.
    package init(packetHeader bytes: RawSpan) {
        seconds = bytes.uint32(at: 0)
        microseconds = bytes.uint32(at: 4)
        byteCount = Int(bytes.uint32(at: 8))
        wireByteCount = Int(bytes.uint32(at: 12))
        number = bytes.uint32(at: 16)
    }

    /// When it was captured, in nanoseconds since 1970.
    package var nanosecondsSince1970: UInt64 {
        UInt64(seconds) * 1_000_000_000 + UInt64(microseconds) * 1000
    }
}
