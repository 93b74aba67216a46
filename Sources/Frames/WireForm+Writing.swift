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
        let payload = frame.extracting(cut.payload(of: index))
        let headerByteCount = tagByteCount + cut.headerByteCount
        if target.byteCount >= headerByteCount {
            var sum = writeHeaders(cut, index, frame, &target)
            sum.add(payload, copyingInto: &target, at: headerByteCount)
            store(sum, cut, &target)
        } else {
            // The checksum is over all of the headers, so they are made somewhere else first.
            var memory = [256 of UInt8](repeating: 0)
            precondition(memory.count == Self.headerByteCountMax)
            var span = memory.mutableSpan
            // Safety: a `UInt8` has no padding, and all of them are initialized.
            var headers = unsafe span.mutableBytes
            var sum = writeHeaders(cut, index, frame, &headers)
            sum.add(payload)
            store(sum, cut, &headers)
            target.copy(headers.bytes, at: 0)
        }
    }

    /// Writes a segment's headers but for its transport's checksum, and answers what that covers of
    /// them. The target has room for all of them.
    private func writeHeaders(
        _ cut: Cut, _ index: Int, _ frame: RawSpan, _ target: inout MutableRawSpan
    ) -> InternetSum {
        let layout = cut.layout
        let jumbo = layout.network + 40..<layout.network + 40 + layout.jumboByteCount
        if layout.jumboByteCount == 0 {
            copyStart(of: frame, upTo: layout.payload, into: &target)
        } else {
            copyStart(of: frame, upTo: jumbo.lowerBound, into: &target)
            target.copy(
                frame.extracting(jumbo.upperBound..<layout.payload),
                at: jumbo.lowerBound + tagByteCount)
            target.storeBytes(
                of: frame.uint8(at: jumbo.lowerBound),
                toByteOffset: layout.network + tagByteCount + 6, as: UInt8.self)
        }
        let payloadByteCount = cut.payload(of: index).count
        let network = layout.network + tagByteCount
        let transport = layout.transport + tagByteCount - layout.jumboByteCount
        let end = tagByteCount + cut.headerByteCount
        switch layout.family {
        case .ipv4:
            finishIPv4(&target, network..<transport, index, end + payloadByteCount - network)
        case .ipv6:
            target.store(
                UInt16(truncatingIfNeeded: end + payloadByteCount - network - 40), at: network + 4)
        }
        let length = end + payloadByteCount - transport
        if layout.protocolNumber == IPProtocol.tcp {
            finishTCP(&target, at: transport, cut, index)
        } else {
            target.store(UInt16(truncatingIfNeeded: length), at: transport + 4)
        }
        target.store(UInt16(0), at: transport + layout.checksumOffset)
        var sum = cut.pseudoHeader
        sum.add(length: length)
        sum.add(target.bytes.extracting(transport..<end))
        return sum
    }

    /// RFC 791: the total length, an identification of its own, and the header's checksum.
    private func finishIPv4(
        _ target: inout MutableRawSpan, _ header: Range<Int>, _ index: Int, _ byteCount: Int
    ) {
        let start = header.lowerBound
        let identification = target.bytes.uint16(at: start + 4)
        target.store(UInt16(truncatingIfNeeded: byteCount), at: start + 2)
        target.store(identification &+ UInt16(truncatingIfNeeded: index), at: start + 4)
        target.store(UInt16(0), at: start + 10)
        target.store(Checksum.of(target.bytes.extracting(header)), at: start + 10)
    }

    /// RFC 9293, 3.1. What ends the stream or is to be handed on at once comes with its last byte
    /// (FIN, PSH); that the window was reduced is said once (CWR; RFC 3168, 6.1.2).
    private func finishTCP(
        _ target: inout MutableRawSpan, at transport: Int, _ cut: Cut, _ index: Int
    ) {
        let sequence = target.bytes.uint32(at: transport + 4)
        let offset = UInt32(truncatingIfNeeded: index * cut.segmentByteCount)
        target.store(sequence &+ offset, at: transport + 4)
        var flags = target.bytes.uint8(at: transport + 13)
        if index < cut.segmentCount - 1 { flags &= ~0x09 }
        if index > 0 { flags &= ~0x80 }
        target.storeBytes(of: flags, toByteOffset: transport + 13, as: UInt8.self)
    }

    private func store(_ sum: InternetSum, _ cut: Cut, _ target: inout MutableRawSpan) {
        var checksum = sum.checksum
        if checksum == 0, cut.layout.protocolNumber == IPProtocol.udp { checksum = .max }
        target.store(
            checksum,
            at: cut.layout.transport + tagByteCount - cut.layout.jumboByteCount
                + cut.layout.checksumOffset)
    }
}

extension WireForm.Layout {
    /// Where the checksum of a transport that can be segmented is in its header.
    fileprivate var checksumOffset: Int { protocolNumber == IPProtocol.udp ? 6 : 16 }
}
