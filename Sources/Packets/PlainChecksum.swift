import Addressing

/// The short way to complete a partial checksum, which is the most frequent repair by far.
///
/// It takes a TCP or UDP packet in a plain frame that was captured whole, at a fraction of what
/// `WireForm` costs. `WireForm` does everything else, and this as well, byte for byte the same.
package struct PlainChecksum: Sendable {
    /// The offset at which summing begins: the packet's addresses.
    ///
    /// The pseudo-header has them too, and they stand right before the transport.
    private let start: Int
    /// The offset of the checksum.
    private let field: Int
    /// The pseudo-header without its addresses, less what the checksum's field holds.
    private let base: InternetSum
    private let isUDP: Bool

    /// Checks that a frame is plain, and that the checksum is the one of its own transport.
    ///
    /// Nil for a frame that is not plain in any way. `checksumStart` is the offset of the first
    /// byte that the checksum covers, and `checksumOffset` that of the checksum, from there.
    package init?(_ frame: RawSpan, checksumStart: Int, checksumOffset: Int) {
        let byteCount = frame.byteCount
        guard byteCount >= PlainFrame.IPv4.transport + UDPHeader.byteCount,
            checksumStart + checksumOffset + 2 <= byteCount
        else { return nil }
        let number: UInt8
        switch frame.uint16(at: EthernetHeader.etherType) {
        case EtherType.ipv4:
            typealias Layout = PlainFrame.IPv4
            guard checksumStart == Layout.transport,
                frame.uint8(at: EthernetHeader.byteCount) == IPv4Header.plainStart,
                frame.uint16(at: Layout.fragment) & IPv4Header.fragmentMask == 0,
                Int(frame.uint16(at: Layout.length)) == byteCount - EthernetHeader.byteCount
            else { return nil }
            number = frame.uint8(at: Layout.protocolNumber)
            start = Layout.source
        case EtherType.ipv6:
            typealias Layout = PlainFrame.IPv6
            guard checksumStart == Layout.transport, byteCount > Layout.transport,
                frame.uint8(at: EthernetHeader.byteCount) >> 4 == 6,
                Int(frame.uint16(at: Layout.length)) == byteCount - Layout.transport
            else { return nil }
            number = frame.uint8(at: Layout.protocolNumber)
            start = Layout.source
        default:
            return nil
        }
        let transportByteCount = byteCount - checksumStart
        switch (number, checksumOffset) {
        case (IPProtocol.udp, UDPHeader.checksum):
            let length = frame.uint16(at: checksumStart + UDPHeader.length)
            guard Int(length) == transportByteCount else { return nil }
            isUDP = true
        case (IPProtocol.tcp, TCPHeader.checksum): isUDP = false
        default: return nil
        }
        field = checksumStart + checksumOffset
        var sum = InternetSum()
        sum.add(UInt16(number))
        sum.add(UInt16(truncatingIfNeeded: transportByteCount))
        sum.remove(frame.uint16(at: field))
        base = sum
    }

    /// Copies the frame into a target that has room for all of it, and completes the checksum.
    package func write(_ frame: RawSpan, into target: inout MutableRawSpan, at offset: Int) {
        let byteCount = frame.byteCount
        precondition(start <= byteCount && field + 2 <= byteCount)
        precondition(offset >= 0 && byteCount <= target.byteCount - offset)
        // Safety: the lines above keep all reads and writes inside the frame and the target, and a
        // borrowed span shares no byte with a mutable one.
        unsafe frame.withUnsafeBytes { frame in
            unsafe target.withUnsafeMutableBytes { target in
                guard let from = frame.baseAddress, let room = target.baseAddress else { return }
                let to = unsafe room + offset
                unsafe to.copyMemory(from: from, byteCount: start)
                var sum = base
                unsafe sum.add(byteCount - start, copying: from + start, to: to + start)
                var checksum = sum.checksum
                // A UDP checksum of 0 would mean that there is none (RFC 768).
                if checksum == 0, isUDP { checksum = .max }
                unsafe to.storeBytes(of: checksum.bigEndian, toByteOffset: field, as: UInt16.self)
            }
        }
    }
}
