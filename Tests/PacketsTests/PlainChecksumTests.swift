import Addressing
import FuzzSupport
import ObservationFixtures
import Packets
import Testing

/// The short way to complete a checksum, compared with the long one, `WireForm`.
///
/// Other tests compare that with what a receiver finds.
@Suite("A plain checksum")
struct PlainChecksumTests {
    /// Returns the frame with its checksum, written between guard bytes; nil if it is not plain.
    private static func completed(_ frame: [UInt8], _ offload: Offload) -> [UInt8]? {
        guard
            let checksum = PlainChecksum(
                frame.wire, checksumStart: Int(offload.checksumStart),
                checksumOffset: Int(offload.checksumOffset))
        else { return nil }
        var memory = [UInt8](repeating: 0xa5, count: 28 + frame.count + 64)
        var span = memory.mutableSpan
        var bytes = unsafe span.mutableBytes
        checksum.write(frame.wire, into: &bytes, at: 28)
        guard memory.prefix(28).allSatisfy({ $0 == 0xa5 }),
            memory.suffix(64).allSatisfy({ $0 == 0xa5 })
        else { return [] }
        return Array(memory.dropFirst(28).prefix(frame.count))
    }

    @Test("is the one of the wire form, for packets of all lengths", arguments: [false, true])
    func plain(isUDP: Bool) {
        var generator = RandomNumbers(isUDP ? 1 : 2)
        for family in IPAddress.Family.allCases {
            for count in [0, 1, 2, 3, 7, 8, 9, 17, 18, 19, 63, 64, 65, 66, 127, 1000, 1460] {
                let original = GSOPacket().with {
                    $0.family = family
                    $0.isUDP = isUDP
                    $0.payload = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator)
                    }
                }
                let frame = original.bytes
                let form = WireForm(frame.wire, wireByteCount: frame.count, original.offload)
                #expect(form.repair == .checksum)
                #expect(
                    Self.completed(frame, original.offload) == written(form, frame)?.first,
                    "\(original)")
            }
        }
    }

    @Test("is left to the wire form, or the same", arguments: 0..<4 as Range<UInt64>)
    func random(seed: UInt64) {
        var generator = RandomNumbers(seed)
        var plainCount = 0
        for number in 0..<2000 {
            var original = GSOPacket.random(with: &generator, payloadByteCountMax: 300)
            original.segmentByteCount = 0
            if number % 3 == 0 { (original.ipOptions, original.extensions) = ([], []) }
            if number % 3 < 2 { (original.tags, original.padding) = ([], []) }
            var frame = original.bytes
            var offload = original.offload
            // A forged byte, and a frame that ends early.
            if number % 5 == 0, let place = frame.indices.randomElement(using: &generator) {
                frame[place] = UInt8.random(in: 0...255, using: &generator)
            }
            if number % 7 == 0 {
                frame.removeLast(Int.random(in: 0..<frame.count, using: &generator))
            }
            if number % 11 == 0 {
                offload = Offload(
                    needsChecksum: true,
                    checksumStart: UInt16.random(in: 0...120, using: &generator),
                    checksumOffset: UInt16.random(in: 0...20, using: &generator))
            }
            guard let bytes = Self.completed(frame, offload) else { continue }
            plainCount += 1
            let form = WireForm(frame.wire, wireByteCount: frame.count, offload)
            #expect(form.repair == .checksum)
            let isSame = bytes == written(form, frame)?.first
            #expect(isSame, "\(number): \(original)")
            if !isSame { return }
        }
        #expect(plainCount > 200)
    }

    @Test("of 0 is written as UDP has to")
    func zero() {
        // The pseudo-header and the packet add up to 0xffff without the last two bytes.
        var original = GSOPacket().with {
            $0.isUDP = true
            $0.payload = [0, 0]
        }
        let sum = Self.completed(original.bytes, original.offload).map { $0.wire.uint16(at: 40) }
        original.payload = [
            UInt8(truncatingIfNeeded: (sum ?? 0) >> 8), UInt8(truncatingIfNeeded: sum ?? 0),
        ]
        let bytes = Self.completed(original.bytes, original.offload)
        #expect(bytes?.wire.uint16(at: 40) == 0xffff)
    }
}
