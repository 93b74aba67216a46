import Addressing

extension WireForm {
    /// Writes one of the segments, or as many of its first bytes as the target is long. Answers how
    /// long it is on the wire.
    ///
    /// The frame is the one that was decided about, which may not have changed since. Headers and
    /// checksums are those of the whole segment also where less than that is kept: what is not copied
    /// is still summed.
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
            finishSum(coverage, frame, &target)
        case .crc(let coverage):
            copyStart(of: frame, upTo: frame.byteCount, into: &target)
            let checksum = Checksum.crc32c(
                of: frame.extracting(coverage.bytes),
                withoutThoseAt: coverage.field - coverage.bytes.lowerBound)
            // The one number that goes out with its last byte first.
            target.store(checksum.byteSwapped, at: coverage.field + tagByteCount)
        case .cut(let cut):
            write(cut, index, frame, &target)
        }
        return wireByteCount(ofSegment: index)
    }

    /// Copies the frame's first bytes, the tag among them.
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

    private func finishSum(
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
            let rest = transport - network - 40 + length
            target.store(UInt16(truncatingIfNeeded: rest), at: network + 4)
        }
        var sum = cut.transportSum
        sum.add(length: length)
        let isUDP = layout.protocolNumber == IPProtocol.udp
        if isUDP {
            sum.add(length: length)
            target.store(UInt16(truncatingIfNeeded: length), at: transport + 4)
        } else {
            finishTCP(&target, at: transport, frame, cut, index, &sum)
        }
        sum.add(payload, copyingInto: &target, at: headerByteCount)
        var checksum = sum.checksum
        if checksum == 0, isUDP { checksum = .max }
        target.store(checksum, at: transport + (isUDP ? 6 : 16))
    }

    private func copyHeaders(
        of frame: RawSpan, _ layout: Layout, into target: inout MutableRawSpan
    ) {
        guard layout.jumboByteCount > 0 else {
            return copyStart(of: frame, upTo: layout.payload, into: &target)
        }
        let jumbo = layout.network + 40
        copyStart(of: frame, upTo: jumbo, into: &target)
        target.copy(
            frame.extracting(jumbo + layout.jumboByteCount..<layout.payload),
            at: jumbo + tagByteCount)
        // What came behind the option comes next to the fixed header now; the hop limit stays.
        let kind = UInt16(frame.uint8(at: jumbo)) << 8
        target.store(
            kind | UInt16(frame.uint8(at: layout.network + 7)),
            at: layout.network + tagByteCount + 6)
    }

    /// RFC 791: the total length, an identification of its own, and the header's checksum.
    private func finishIPv4(
        _ target: inout MutableRawSpan, at network: Int, _ frame: RawSpan, _ cut: Cut,
        _ index: Int, _ byteCount: Int
    ) {
        let identification =
            frame.uint16(at: cut.layout.network + 4) &+ UInt16(truncatingIfNeeded: index)
        var sum = cut.networkSum
        sum.add(length: byteCount)
        sum.add(identification)
        target.store(UInt16(truncatingIfNeeded: byteCount), at: network + 2)
        target.store(identification, at: network + 4)
        target.store(sum.checksum, at: network + 10)
    }

    /// RFC 9293, 3.1. What ends the stream or is to be handed on at once comes with its last byte
    /// (FIN, PSH); that the window was reduced is said once (CWR; RFC 3168, 6.1.2).
    private func finishTCP(
        _ target: inout MutableRawSpan, at transport: Int, _ frame: RawSpan, _ cut: Cut,
        _ index: Int, _ sum: inout InternetSum
    ) {
        let sequence =
            frame.uint32(at: cut.layout.transport + 4)
            &+ UInt32(truncatingIfNeeded: index * cut.segmentByteCount)
        var flags = frame.uint16(at: cut.layout.transport + 12)
        if index < cut.segmentCount - 1 { flags &= ~0x09 }
        if index > 0 { flags &= ~0x80 }
        sum.add(UInt16(truncatingIfNeeded: sequence >> 16))
        sum.add(UInt16(truncatingIfNeeded: sequence))
        sum.add(flags)
        target.store(sequence, at: transport + 4)
        target.store(flags, at: transport + 12)
    }
}
