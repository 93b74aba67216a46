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
                if let fault = form.fault(in: frame, offload) {
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
}
