import Addressing
package import Packets

/// Returns the segments that a wire form writes of a frame; nil if it writes anywhere else.
///
/// Each segment is written into just as much memory as is kept of it, between guard bytes. Whole segments
/// are also written as a run, which must come out the same.
package func written(_ form: WireForm, _ frame: [UInt8], keeping limit: Int = .max) -> [[UInt8]]? {
    var segments: [[UInt8]] = []
    for index in 0..<form.segmentCount {
        let byteCount = min(limit, form.byteCount(ofSegment: index))
        var memory = [UInt8](repeating: 0xa5, count: byteCount + 2 * guardByteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        var target = bytes._mutatingExtracting(guardByteCount..<guardByteCount + byteCount)
        let wireByteCount = form.write(segment: index, of: frame.wire, into: &target)
        guard wireByteCount == form.wireByteCount(ofSegment: index),
            memory.prefix(guardByteCount).allSatisfy({ $0 == 0xa5 }),
            memory.suffix(guardByteCount).allSatisfy({ $0 == 0xa5 })
        else { return nil }
        segments.append(Array(memory.dropFirst(guardByteCount).prefix(byteCount)))
    }
    return isSame(form, frame, segments, keeping: limit) ? segments : nil
}

/// Whether a run writes the same segments, each into just as much memory as it needs.
private func isSame(
    _ form: WireForm, _ frame: [UInt8], _ segments: [[UInt8]], keeping limit: Int
) -> Bool {
    guard let run = SegmentRun(form, of: frame.wire) else {
        if case .segments = form.repair { return false }
        return true
    }
    guard run.count == segments.count else { return false }
    guard run.byteCountMax <= limit else { return true }
    for (index, segment) in segments.enumerated() {
        var memory = [UInt8](repeating: 0xa5, count: segment.count + 2 * guardByteCount)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        guard run.byteCount(of: index) == segment.count else { return false }
        run.write(index, of: frame.wire, into: &bytes, at: guardByteCount)
        let guardBytes = [UInt8](repeating: 0xa5, count: guardByteCount)
        guard memory == guardBytes + segment + guardBytes else { return false }
    }
    return true
}

private let guardByteCount = 64

extension WireForm {
    /// Returns what is wrong with what is written of a frame with any offload; nil if nothing is.
    package func fault(in frame: [UInt8], _ offload: Offload) -> String? {
        guard let segments = written(self, frame) else { return "written elsewhere" }
        guard segments.reduce(0, { $0 + $1.count }) == byteCount else { return "length" }
        switch repair {
        case .none, .impossible: return segments == [frame] ? nil : "changed"
        case .checksum:
            guard let packet = SentPacket(segments[0]) else { return "no packet" }
            // Another checksum is that of a packet inside.
            guard packet.transport == Int(offload.checksumStart), packet.isSumKnown else {
                return nil
            }
            return packet.isSumRight ? nil : "checksum"
        case .segments(let count):
            guard segments.count == count, let whole = SentPacket(frame) else {
                return "\(segments.count) segments"
            }
            var payload: [UInt8] = []
            for (index, segment) in segments.enumerated() {
                guard let packet = SentPacket(segment), packet.hasWholeLength else {
                    return "headers of \(index)"
                }
                guard packet.isHeaderSumRight, packet.isSumRight else { return "sum of \(index)" }
                let isLast = index == segments.count - 1
                let byteCount = packet.payload.count
                guard
                    isLast
                        ? 1...Int(offload.segmentByteCount) ~= byteCount
                        : byteCount == Int(offload.segmentByteCount)
                else { return "\(byteCount) bytes in \(index)" }
                payload += packet.payload
            }
            return payload == Array(whole.payload) ? nil : "payload"
        }
    }
}

/// A frame as a receiver takes it apart, by RFC 791, 768, 8200 and 9293.
package struct SentPacket {
    private let bytes: [UInt8]
    private let network: Int
    private let isIPv4: Bool
    private let number: UInt8
    /// Where the transport's header begins.
    package let transport: Int
    /// The packet's end by its own length.
    private let end: Int

    package init?(_ frame: [UInt8]) {
        bytes = frame
        let wire = frame.wire
        var offset = 12
        while offset + 6 <= frame.count, [0x8100, 0x88a8].contains(wire.uint16(at: offset)) {
            offset += 4
        }
        guard offset + 22 <= frame.count else { return nil }
        network = offset + 2
        isIPv4 = wire.uint16(at: offset) == 0x800
        if isIPv4 {
            number = wire.uint8(at: network + 9)
            transport = network + Int(wire.uint8(at: network) & 15) * 4
            guard transport >= network + 20 else { return nil }
            end = network + Int(wire.uint16(at: network + 2))
        } else {
            guard wire.uint16(at: offset) == 0x86dd, network + 40 <= frame.count else { return nil }
            end = network + 40 + Int(wire.uint16(at: network + 4))
            var (kind, place) = (wire.uint8(at: network + 6), network + 40)
            while [0, 43, 60, 135, 139, 140].contains(kind), place + 8 <= frame.count {
                kind = wire.uint8(at: place)
                place += (Int(wire.uint8(at: place + 1)) + 1) * 8
            }
            (number, transport) = (kind, place)
        }
        guard transport <= end, end <= frame.count else { return nil }
    }

    /// Whether the header of TCP or UDP is there.
    package var hasTransportHeader: Bool { transport + (number == 17 ? 8 : 20) <= end }
    package var hasWholeLength: Bool { end == bytes.count }
    package var isHeaderSumRight: Bool { !isIPv4 || plainSum(bytes[network..<transport]) == 0xffff }
    /// Whether the checksum is one that this knows: TCP's or UDP's.
    package var isSumKnown: Bool { number == 6 || number == 17 }

    package var payload: ArraySlice<UInt8> {
        let header = number == 17 ? 8 : Int(bytes[transport + 12] >> 4) * 4
        return bytes[min(transport + header, end)..<end]
    }

    package var isSumRight: Bool {
        let isUDP = number == 17
        if isUDP {
            // A checksum of 0 would be none.
            guard Int(bytes.wire.uint16(at: transport + 4)) == end - transport,
                bytes.wire.uint16(at: transport + 6) != 0
            else { return false }
        }
        var covered = Array(bytes[(network + (isIPv4 ? 12 : 8))..<(network + (isIPv4 ? 20 : 40))])
        covered.append(bigEndian: UInt32(end - transport))
        covered += [0, number] + bytes[transport..<end]
        return plainSum(covered) == 0xffff
    }
}
