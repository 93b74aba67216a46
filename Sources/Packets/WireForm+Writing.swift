import Addressing

extension WireForm {
    /// Writes a segment, or the part of it that fits the target.
    ///
    /// The frame is the one that was decided about, and has not changed since. Headers and
    /// checksums are those of the whole segment even if only a part is kept: the rest is summed all
    /// the same.
    ///
    /// - Returns: the length of the segment on the wire.
    @discardableResult
    package func write(
        segment index: Int = 0, of frame: RawSpan, into target: inout MutableRawSpan
    ) -> Int {
        precondition(frame.byteCount == frameByteCount)
        precondition(index >= 0 && index < segmentCount)
        precondition(target.byteCount <= byteCount(ofSegment: index))
        switch work {
        case .copy:
            copyStart(of: frame, upTo: frame.byteCount, into: &target)
        case .sum(let coverage):
            completeSum(coverage, frame, &target)
        case .crc(let coverage):
            copyStart(of: frame, upTo: frame.byteCount, into: &target)
            let checksum = Checksum.crc32c(
                of: frame.extracting(coverage.bytes),
                withoutFieldAt: coverage.field - coverage.bytes.lowerBound)
            // SCTP sends this number with its last byte first (RFC 9260, appendix A).
            target.store(checksum.byteSwapped, at: coverage.field + tagByteCount)
        case .cut(let cut):
            write(cut, index, frame, &target)
        }
        return wireByteCount(ofSegment: index)
    }

    /// Copies the frame's bytes up to an offset, and puts the tag between them.
    private func copyStart(
        of frame: RawSpan, upTo end: Int, into target: inout MutableRawSpan
    ) {
        guard let tag else { return target.copy(frame.extracting(..<end), at: 0) }
        target.copy(frame.extracting(..<VLANTag.offset), at: 0)
        target.store(tag.etherType, at: VLANTag.offset)
        target.store(tag.tag, at: VLANTag.offset + 2)
        target.copy(
            frame.extracting(VLANTag.offset..<end), at: VLANTag.offset + VLANTag.byteCount)
    }

    private func completeSum(
        _ coverage: Coverage, _ frame: RawSpan, _ target: inout MutableRawSpan
    ) {
        copyStart(of: frame, upTo: coverage.bytes.lowerBound, into: &target)
        var sum = coverage.start
        sum.add(
            frame.extracting(coverage.bytes), copyingInto: &target,
            at: coverage.bytes.lowerBound + tagByteCount)
        target.copy(
            frame.extracting(coverage.bytes.upperBound...),
            at: coverage.bytes.upperBound + tagByteCount)
        var checksum = sum.checksum
        if checksum == 0, coverage.avoidsZero { checksum = .max }
        target.store(checksum, at: coverage.field + tagByteCount)
    }

    private func write(
        _ cut: Cut, _ index: Int, _ frame: RawSpan, _ target: inout MutableRawSpan
    ) {
        let layout = cut.layout
        let payload = frame.extracting(cut.payload(of: index))
        let headerByteCount = tagByteCount + cut.headerByteCount
        let network = layout.network + tagByteCount
        let transport = layout.transport + tagByteCount - layout.jumboByteCount
        let length = headerByteCount - transport + payload.byteCount
        copyHeaders(of: frame, layout, into: &target)
        switch layout.family {
        case .ipv4:
            finishIPv4(&target, at: network, frame, cut, index, transport - network + length)
        case .ipv6:
            let rest = transport - network - IPv6Header.byteCount + length
            target.store(
                UInt16(truncatingIfNeeded: rest), at: network + IPv6Header.payloadLength)
        }
        var sum = cut.transportSum
        sum.add(length: length)
        let isUDP = layout.protocolNumber == IPProtocol.udp
        if isUDP {
            sum.add(length: length)
            target.store(
                UInt16(truncatingIfNeeded: length), at: transport + UDPHeader.length)
        } else {
            finishTCP(&target, at: transport, frame, cut, index, &sum)
        }
        sum.add(payload, copyingInto: &target, at: headerByteCount)
        var checksum = sum.checksum
        if checksum == 0, isUDP { checksum = .max }
        target.store(
            checksum, at: transport + (isUDP ? UDPHeader.checksum : TCPHeader.checksum))
    }

    /// Copies the headers of a segment, without a jumbo payload option and with a tag that is put back.
    func copyHeaders(
        of frame: RawSpan, _ layout: Layout, into target: inout MutableRawSpan
    ) {
        guard layout.jumboByteCount > 0 else {
            return copyStart(of: frame, upTo: layout.payload, into: &target)
        }
        let jumbo = layout.network + IPv6Header.byteCount
        copyStart(of: frame, upTo: jumbo, into: &target)
        target.copy(
            frame.extracting(jumbo + layout.jumboByteCount..<layout.payload),
            at: jumbo + tagByteCount)
        // The header behind the jumbo option follows the fixed header now; the hop limit stays.
        let next = UInt16(frame.uint8(at: jumbo + IPv6ExtensionHeader.nextHeader)) << 8
        target.store(
            next | UInt16(frame.uint8(at: layout.network + IPv6Header.hopLimit)),
            at: layout.network + tagByteCount + IPv6Header.nextHeader)
    }

    /// Writes a segment's total length, identification and header checksum (RFC 791).
    private func finishIPv4(
        _ target: inout MutableRawSpan, at network: Int, _ frame: RawSpan, _ cut: Cut,
        _ index: Int, _ byteCount: Int
    ) {
        let identification =
            frame.uint16(at: cut.layout.network + IPv4Header.identification)
            &+ UInt16(truncatingIfNeeded: index * cut.identificationStep)
        var sum = cut.networkSum
        sum.add(length: byteCount)
        sum.add(identification)
        target.store(
            UInt16(truncatingIfNeeded: byteCount), at: network + IPv4Header.totalLength)
        target.store(identification, at: network + IPv4Header.identification)
        target.store(sum.checksum, at: network + IPv4Header.checksum)
    }

    /// Writes a segment's sequence number and flags, and adds them to its sum (RFC 9293, 3.1).
    private func finishTCP(
        _ target: inout MutableRawSpan, at transport: Int, _ frame: RawSpan, _ cut: Cut,
        _ index: Int, _ sum: inout InternetSum
    ) {
        let sequence =
            frame.uint32(at: cut.layout.transport + TCPHeader.sequence)
            &+ UInt32(truncatingIfNeeded: index * cut.segmentByteCount)
        var flags = frame.uint16(at: cut.layout.transport + TCPHeader.lengthAndFlags)
        if index < cut.segmentCount - 1 { flags &= ~cut.lastSegmentFlags }
        if index > 0 { flags &= ~cut.firstSegmentFlags }
        sum.add(UInt16(truncatingIfNeeded: sequence >> 16))
        sum.add(UInt16(truncatingIfNeeded: sequence))
        sum.add(flags)
        target.store(sequence, at: transport + TCPHeader.sequence)
        target.store(flags, at: transport + TCPHeader.lengthAndFlags)
    }
}
