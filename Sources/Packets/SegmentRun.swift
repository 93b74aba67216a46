import Addressing

/// All segments of a GSO packet, each made from one template of their headers.
///
/// The headers of segments differ in few fields: the IPv4 identification, the TCP sequence number and
/// flags, and two checksums; the last segment has other lengths. So the headers are put together once.
/// A segment is a copy of them, at most five stores, and one pass over its payload. The bytes are those
/// of `WireForm.write`, which also writes segments that are not kept whole.
package struct SegmentRun {
    private let cut: WireForm.Cut
    private let headerByteCount: Int
    /// The offset of the IP header in a segment.
    private let network: Int
    /// The offset of the transport header in a segment.
    private let transport: Int
    private let isIPv4: Bool
    private let isUDP: Bool
    /// The first segment's IPv4 identification.
    private var identification: UInt16 = 0
    /// The first segment's TCP sequence number.
    private var sequence: UInt32 = 0
    /// The TCP flags of the GSO packet, with the length of the header.
    private var flags: UInt16 = 0
    private var template = InlineArray<260, UInt8>(repeating: 0)

    /// Puts the headers of a frame's segments together; nil if the form has no segments.
    package init?(_ form: WireForm, of frame: RawSpan) {
        guard case .cut(let cut) = form.work else { return nil }
        let layout = cut.layout
        self.cut = cut
        headerByteCount = form.tagByteCount + cut.headerByteCount
        guard headerByteCount <= template.count else { return nil }
        network = layout.network + form.tagByteCount
        transport = layout.transport + form.tagByteCount - layout.jumboByteCount
        isIPv4 = layout.family == .ipv4
        isUDP = layout.protocolNumber == IPProtocol.udp
        if isIPv4 {
            identification = frame.uint16(at: layout.network + IPv4Header.identification)
        }
        if !isUDP {
            sequence = frame.uint32(at: layout.transport + TCPHeader.sequence)
            flags = frame.uint16(at: layout.transport + TCPHeader.lengthAndFlags)
        }
        var span = template.mutableSpan
        // Safety: any byte is a valid number of eight bits.
        var headers = unsafe span.mutableBytes
        form.copyHeaders(of: frame, layout, into: &headers)
    }

    /// The number of segments.
    package var count: Int { cut.segmentCount }

    /// The length of all segments but the last one.
    package var byteCountMax: Int { headerByteCount + cut.segmentByteCount }

    /// Returns the length of a segment.
    @inline(__always)
    package func byteCount(of index: Int) -> Int {
        headerByteCount + cut.payload(of: index).count
    }

    /// Writes a whole segment, at an offset of the target.
    @inline(__always)
    package func write(
        _ index: Int, of frame: RawSpan, into target: inout MutableRawSpan, at start: Int
    ) {
        let payload = cut.payload(of: index)
        let transport = start + transport
        let byteCount = headerByteCount - self.transport + payload.count
        // Safety: all bytes of the template are initialized.
        let headers = unsafe template.span.bytes
        target.copy(headers.extracting(first: headerByteCount), at: start)
        if isIPv4 {
            finishIPv4(
                &target, at: start + network, index, self.transport - network + byteCount)
        } else {
            let rest = self.transport - network - IPv6Header.byteCount + byteCount
            target.put(
                UInt16(truncatingIfNeeded: rest), at: start + network + IPv6Header.payloadLength)
        }
        var sum = cut.transportSum
        sum.add(length: byteCount)
        if isUDP {
            sum.add(length: byteCount)
            target.put(UInt16(truncatingIfNeeded: byteCount), at: transport + UDPHeader.length)
        } else {
            finishTCP(&target, at: transport, index, &sum)
        }
        sum.add(
            frame.extracting(payload), copyingWholeInto: &target, at: start + headerByteCount)
        var checksum = sum.checksum
        if checksum == 0, isUDP { checksum = .max }
        target.put(checksum, at: transport + (isUDP ? UDPHeader.checksum : TCPHeader.checksum))
    }

    /// Writes a segment's total length, identification and header checksum (RFC 791).
    @inline(__always)
    private func finishIPv4(
        _ target: inout MutableRawSpan, at network: Int, _ index: Int, _ byteCount: Int
    ) {
        let identification =
            identification &+ UInt16(truncatingIfNeeded: index &* cut.identificationStep)
        var sum = cut.networkSum
        sum.add(length: byteCount)
        sum.add(identification)
        target.put(UInt16(truncatingIfNeeded: byteCount), at: network + IPv4Header.totalLength)
        target.put(identification, at: network + IPv4Header.identification)
        target.put(sum.checksum, at: network + IPv4Header.checksum)
    }

    /// Writes a segment's sequence number and flags, and adds them to its sum (RFC 9293, 3.1).
    @inline(__always)
    private func finishTCP(
        _ target: inout MutableRawSpan, at transport: Int, _ index: Int, _ sum: inout InternetSum
    ) {
        let sequence = sequence &+ UInt32(truncatingIfNeeded: index &* cut.segmentByteCount)
        var flags = flags
        if index < cut.segmentCount - 1 { flags &= ~cut.lastSegmentFlags }
        if index > 0 { flags &= ~cut.firstSegmentFlags }
        sum.add(UInt16(truncatingIfNeeded: sequence >> 16))
        sum.add(UInt16(truncatingIfNeeded: sequence))
        sum.add(flags)
        target.storeBytes(
            of: sequence.bigEndian, toByteOffset: transport + TCPHeader.sequence, as: UInt32.self)
        target.put(flags, at: transport + TCPHeader.lengthAndFlags)
    }
}

extension MutableRawSpan {
    /// Writes a number in network byte order, for which there must be room.
    @inline(__always)
    fileprivate mutating func put(_ value: UInt16, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
}
