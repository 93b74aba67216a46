import Addressing

/// The most frequent repair by far, at a fraction of its cost: the unfinished checksum of a TCP or UDP
/// packet right behind its IP header, in a frame that was captured whole. `WireForm` sees to everything
/// else, and to this in the same way, byte for byte.
package struct PlainChecksum: Sendable {
    /// From here on the frame's bytes are summed: a packet's addresses, which the pseudo-header has as
    /// well, are right before what it carries.
    private let start: Int
    /// Where the checksum belongs.
    private let field: Int
    /// The pseudo-header without its addresses, and the opposite of what the field holds.
    private let base: InternetSum
    private let isUDP: Bool

    /// Nil for a frame that is not as plain as that, in any way.
    package init?(_ frame: RawSpan, checksumStart: Int, checksumOffset: Int) {
        let byteCount = frame.byteCount
        guard byteCount >= 42, checksumStart + checksumOffset + 2 <= byteCount else { return nil }
        let number: UInt8
        switch frame.uint16(at: 12) {
        case EtherType.ipv4:
            guard checksumStart == 34, frame.uint8(at: 14) == 0x45,
                frame.uint16(at: 20) & 0x3fff == 0, Int(frame.uint16(at: 16)) == byteCount - 14
            else { return nil }
            number = frame.uint8(at: 23)
            start = 26
        case EtherType.ipv6:
            guard checksumStart == 54, byteCount > 54, frame.uint8(at: 14) >> 4 == 6,
                Int(frame.uint16(at: 18)) == byteCount - 54
            else { return nil }
            number = frame.uint8(at: 20)
            start = 22
        default:
            return nil
        }
        let transportByteCount = byteCount - checksumStart
        switch (number, checksumOffset) {
        case (IPProtocol.udp, 6):
            guard Int(frame.uint16(at: checksumStart + 4)) == transportByteCount else {
                return nil
            }
            isUDP = true
        case (IPProtocol.tcp, 16): isUDP = false
        default: return nil
        }
        field = checksumStart + checksumOffset
        var sum = InternetSum()
        sum.add(UInt16(number))
        sum.add(UInt16(truncatingIfNeeded: transportByteCount))
        sum.remove(frame.uint16(at: field))
        base = sum
    }

    /// Writes the frame with its checksum behind an offset of a target that has room for all of it.
    package func write(_ frame: RawSpan, into target: inout MutableRawSpan, at offset: Int) {
        let byteCount = frame.byteCount
        precondition(start <= byteCount && field + 2 <= byteCount)
        precondition(offset >= 0 && byteCount <= target.byteCount - offset)
        // Safety: the lines above keep all that is read and written inside the frame and the target,
        // and a borrowed span has no byte in common with one that may be written to.
        unsafe frame.withUnsafeBytes { frame in
            unsafe target.withUnsafeMutableBytes { target in
                guard let from = frame.baseAddress, let room = target.baseAddress else { return }
                let to = unsafe room + offset
                unsafe to.copyMemory(from: from, byteCount: start)
                var sum = base
                unsafe sum.add(byteCount - start, copying: from + start, to: to + start)
                var checksum = sum.checksum
                // 0 would say that there is none (RFC 768).
                if checksum == 0, isUDP { checksum = .max }
                unsafe to.storeBytes(of: checksum.bigEndian, toByteOffset: field, as: UInt16.self)
            }
        }
    }
}
