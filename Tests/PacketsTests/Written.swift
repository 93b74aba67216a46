import Addressing
import ObservationFixtures
import Packets

/// A receiver, which finds what is wrong with the segments that were made of a frame.
///
/// It knows nothing about how they are made.
struct Receiver {
    let original: GSOPacket
    /// The tag that the kernel had taken out.
    var tag: VLANTag?

    func fault(in segments: [[UInt8]]) -> String? {
        guard segments.count == original.segmentCount else { return "\(segments.count) segments" }
        var payload: [UInt8] = []
        for (index, segment) in segments.enumerated() {
            var bytes = segment
            if let tag {
                guard bytes.count >= 16, bytes.wire.uint16(at: 12) == tag.etherType,
                    bytes.wire.uint16(at: 14) == tag.tag
                else { return "tag of \(index)" }
                bytes.removeSubrange(12..<16)
            }
            if let fault = fault(inHeadersOf: bytes, index) { return "\(fault) of \(index)" }
            payload += bytes.dropFirst(original.payloadOffset).dropLast(original.padding.count)
            if original.segmentByteCount > 0, index < segments.count - 1,
                payload.count != (index + 1) * original.segmentByteCount
            {
                return "size of \(index)"
            }
        }
        return payload == original.payload ? nil : "payload"
    }

    private func fault(inHeadersOf segment: [UInt8], _ index: Int) -> String? {
        let (network, transport) = (original.networkOffset, original.transportOffset)
        guard segment.count >= original.payloadOffset else { return "length" }
        let packetByteCount = segment.count - original.padding.count
        let wire = segment.wire
        let isIPv4 = original.family == .ipv4
        if isIPv4 {
            guard Int(wire.uint16(at: network + 2)) == packetByteCount - network else {
                return "total length"
            }
            let isFixed = original.identification == 0 && original.dontFragment
            let identification =
                original.identification &+ (isFixed ? 0 : UInt16(truncatingIfNeeded: index))
            guard wire.uint16(at: network + 4) == identification else { return "identification" }
            guard plainSum(segment[network..<transport]) == 0xffff else { return "IP checksum" }
        } else if Int(wire.uint16(at: network + 4)) != packetByteCount - network - 40 {
            return "payload length"
        }
        let transportByteCount = packetByteCount - transport
        var covered = Array(segment[(network + (isIPv4 ? 12 : 8))..<(network + (isIPv4 ? 20 : 40))])
        covered.append(bigEndian: UInt32(transportByteCount))
        covered += [0, original.isUDP ? 17 : 6] + segment[transport..<packetByteCount]
        guard plainSum(covered) == 0xffff else { return "checksum" }
        if original.isUDP {
            guard Int(wire.uint16(at: transport + 4)) == transportByteCount else {
                return "UDP length"
            }
            guard wire.uint16(at: transport + 6) != 0 else { return "checksum of 0" }
        } else if let fault = faultInTCP(wire, transport, index) {
            return fault
        }
        return constant(segment) == constant(original.bytes) ? nil : "a header"
    }

    private func faultInTCP(_ wire: RawSpan, _ transport: Int, _ index: Int) -> String? {
        let sequence = original.sequence &+ UInt32(index * original.segmentByteCount)
        guard wire.uint32(at: transport + 4) == sequence else { return "sequence number" }
        var flags = original.flags
        if index > 0, original.answersCongestion { flags &= 0x7f }
        if index < original.segmentCount - 1, !original.isChained { flags &= 0xf6 }
        return wire.uint8(at: transport + 13) == flags ? nil : "flags"
    }

    /// The headers without what differs from segment to segment.
    private func constant(_ frame: [UInt8]) -> [UInt8] {
        var headers = Array(frame.prefix(original.payloadOffset))
        let (network, transport) = (original.networkOffset, original.transportOffset)
        var places = original.family == .ipv4 ? [2, 3, 4, 5, 10, 11] : [4, 5]
        places = places.map { network + $0 }
        places += (original.isUDP ? [4, 5, 6, 7] : [4, 5, 6, 7, 13, 16, 17]).map { transport + $0 }
        for place in places { headers[place] = 0 }
        return headers
    }
}
