import Addressing
import FuzzSupport
import ObservationFixtures
import Packets
import Testing

/// Frames with any offload, read by a receiver that knows neither what was meant nor how it is made.
@Suite("A wire form of any frame and offload")
struct RandomOffloadTests {
    /// What is done to a packet that can be repaired.
    private enum Kind: CaseIterable {
        case other, chained, sizes, headers, damaged
    }

    @Test("has all of the payload once, with right checksums", arguments: Fuzz.seeds)
    func fuzz(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            for _ in 0..<60 {
                let (frame, offload) = Self.frame(with: &generator)
                let form = WireForm(frame.wire, wireByteCount: frame.count, offload)
                if let fault = Self.fault(in: form, of: frame, offload) {
                    throw Fuzz.Complaint("\(fault), \(form.repair): \(offload), \(frame)")
                }
            }
        }
    }

    @Test("is a cut of many frames that are made at random")
    func kinds() {
        var generator = RandomNumbers(1)
        var (cutCount, chainedCount, completedCount) = (0, 0, 0)
        for _ in 0..<1000 {
            let (frame, offload) = Self.frame(with: &generator)
            switch WireForm(frame.wire, wireByteCount: frame.count, offload).repair {
            case .segments where offload.needsChecksum: cutCount += 1
            case .segments: chainedCount += 1
            case .checksum: completedCount += 1
            case .none, .impossible: break
            }
        }
        #expect(cutCount > 100 && chainedCount > 50 && completedCount > 100)
    }

    /// Returns a frame and an offload that may fit each other.
    private static func frame(with generator: inout RandomNumbers) -> ([UInt8], Offload) {
        var packet = GSOPacket.random(with: &generator, payloadByteCountMax: 600)
        packet.dontFragment = Bool.random(using: &generator)
        packet.answersCongestion = Bool.random(using: &generator)
        let kind = Kind.allCases.randomElement(using: &generator) ?? .other
        packet.isChained =
            kind == .chained || kind != .other && Int.random(in: 0..<3, using: &generator) == 0
        var frame = packet.bytes
        let offload = packet.offload
        switch kind {
        case .other, .chained: return (frame, offload)
        case .headers:
            var bytes = offload.bytes
            for _ in 0...Int.random(in: 0...2, using: &generator) {
                let values: [UInt8] = [0, 1, 4, 5, 16, 34, .random(in: 0...255, using: &generator)]
                bytes[Int.random(in: bytes.indices, using: &generator)] =
                    values.randomElement(using: &generator) ?? 0
            }
            return (frame, Offload(bytes.wire, at: 0))
        case .sizes:
            return (
                frame,
                Offload(
                    needsChecksum: offload.needsChecksum, checksumStart: offload.checksumStart,
                    checksumOffset: offload.checksumOffset, segmentation: offload.segmentation,
                    isCongestionReduced: Bool.random(using: &generator),
                    segmentByteCount: .random(in: 0...700, using: &generator),
                    headerByteCount: .random(in: 0...700, using: &generator))
            )
        case .damaged:
            let end = min(frame.count, packet.payloadOffset + 4)
            for _ in 0...Int.random(in: 0...2, using: &generator) {
                frame[Int.random(in: 12..<end, using: &generator)] =
                    .random(in: 0...255, using: &generator)
            }
            return (frame, offload)
        }
    }

    /// Returns what is wrong with what is written of a frame.
    private static func fault(
        in form: WireForm, of frame: [UInt8], _ offload: Offload
    ) -> String? {
        guard let segments = written(form, frame) else { return "written elsewhere" }
        guard segments.reduce(0, { $0 + $1.count }) == form.byteCount else { return "length" }
        switch form.repair {
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
private struct SentPacket {
    private let bytes: [UInt8]
    private let network: Int
    private let isIPv4: Bool
    private let number: UInt8
    /// Where the transport's header begins.
    let transport: Int
    /// The packet's end by its own length.
    private let end: Int

    init?(_ frame: [UInt8]) {
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

    var hasWholeLength: Bool { end == bytes.count }
    var isHeaderSumRight: Bool { !isIPv4 || plainSum(bytes[network..<transport]) == 0xffff }
    /// Whether the checksum is one that this knows: TCP's or UDP's.
    var isSumKnown: Bool { number == 6 || number == 17 }

    var payload: ArraySlice<UInt8> {
        let header = number == 17 ? 8 : Int(bytes[transport + 12] >> 4) * 4
        return bytes[min(transport + header, end)..<end]
    }

    var isSumRight: Bool {
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
