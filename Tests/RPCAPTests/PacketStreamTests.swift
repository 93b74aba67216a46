import Addressing
import FuzzSupport
import RPCAP
import Testing

@Suite("A stream of packets")
struct PacketStreamTests {
    /// A packet as the reference server puts it onto the wire.
    private static let golden = hex(
        "00 07 00 00 00 00 00 18 6b 00 d4 5f 00 08 c8 7d 00 00 00 04 00 00 00 31 00 00 00 01 de ad be ef"
    )

    private static func record(_ frame: [UInt8], wireByteCount: Int, number: UInt32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: PacketRecord.headerByteCount)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        PacketRecord.store(
            into: &raw, nanoseconds: 0x6b00_d45f * 1_000_000_000 + 0x8c87d * 1000,
            byteCount: frame.count,
            wireByteCount: wireByteCount, number: number)
        return bytes + frame
    }

    @Test("has packets of the reference's form")
    func form() {
        #expect(Self.record(hex("de ad be ef"), wireByteCount: 0x31, number: 1) == Self.golden)
    }

    @Test(
        "gives back what was put into it, however it is cut",
        arguments: 1...40 as ClosedRange<UInt64>)
    func roundTrip(seed: UInt64) throws {
        var generator = RandomNumbers(seed)
        let frames = (0..<50).map { _ in
            (0..<Int.random(in: 0...300, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
        }
        var bytes: [UInt8] = []
        for (index, frame) in frames.enumerated() {
            bytes += Self.record(frame, wireByteCount: frame.count + 7, number: UInt32(index + 1))
        }
        var stream = PacketStream(snaplen: 300)
        var seen: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let part = rest.prefix(Int.random(in: 1...200, using: &generator))
            rest = rest.dropFirst(part.count)
            stream.append(part)
            while try stream.next({ record, frame in
                #expect(record.wireByteCount == frame.byteCount + 7)
                #expect(record.nanosecondsSince1970 == 0x6b00_d45f * 1_000_000_000 + 0x8c87d * 1000)
                seen.append(frame.array)
            }) {}
        }
        #expect(seen == frames)
    }

    @Test("carries a frame of more than 64 KiB whole")
    func large() throws {
        let frame = [UInt8](repeating: 7, count: 65_549)
        var stream = PacketStream(snaplen: 262_144)
        stream.append(Self.record(frame, wireByteCount: frame.count, number: 1)[...])
        var seen: [UInt8] = []
        let isWhole = try stream.next { seen = $1.array }
        #expect(isWhole && seen == frame)
    }

    static let refusals: [(bytes: [UInt8], failure: ProtocolFailure)] = [
        (hex("01 07 00 00 00 00 00 18"), .wrongVersion(1)),
        (hex("00 6e 00 00 00 00 00 18"), .unexpected(type: 0x6e)),
        (hex("00 07 00 00 00 00 01 00"), .tooLong(byteCount: 256, byteCountMax: 84)),
        (
            hex("00 07 00 00 00 00 00 14 00 00 00 00 00 00 00 00 00 00 00 01"),
            .malformed("a packet with the length 1 in 20 bytes")
        ),
        (
            hex("00 07 00 00 00 00 00 14 00 00 00 00 00 0f 42 40 00 00 00 00"),
            .malformed("a packet with 1000000 microseconds")
        ),
    ]

    @Test("says what is wrong with it", arguments: 0..<refusals.count)
    func refused(row: Int) {
        var stream = PacketStream(snaplen: 64)
        let bytes = Self.refusals[row].bytes
        stream.append((bytes + [UInt8](repeating: 0, count: 28))[...])
        #expect(throws: Self.refusals[row].failure) { try stream.next { _, _ in } }
    }

    @Test(
        "survives any bytes, and gives nothing that is longer than was asked for",
        arguments: Fuzz.seeds)
    func garbage(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            var stream = PacketStream(snaplen: 100)
            var isBroken = false
            for _ in 0..<100 where !isBroken {
                var bytes = Self.record(
                    [UInt8](repeating: 1, count: .random(in: 0...110, using: &generator)),
                    wireByteCount: 9, number: 1)
                if Int.random(in: 0..<8, using: &generator) == 0 {
                    let index = Int.random(in: 0..<28, using: &generator)
                    bytes[index] = .random(in: 0...255, using: &generator)
                }
                stream.append(bytes.dropLast(.random(in: 0...1, using: &generator)))
                do {
                    while try stream.next({
                        #expect($1.byteCount <= 100 && $0.byteCount <= 100, "seed \(seed)")
                    }) {
                    }
                } catch {
                    isBroken = true
                }
            }
        }
    }
}
