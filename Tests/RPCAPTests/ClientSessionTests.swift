import BPF
import Frames
import RPCAP
import Testing

@Suite("A client session")
struct ClientSessionTests {
    private static let device = Device(
        name: "any-eth", description: "pods", isPreselected: true,
        addresses: [Device.Address(IPAddress(ipv4: 0x0af4_0101), prefixBitCount: 16)])

    @Test("comes to an understanding with the server, and opens what is preselected")
    func together() {
        var server = Driver(devices: [Device(name: "other"), Self.device])
        var client = ClientSession()
        var seen: [String] = []
        while let action = client.nextAction() {
            switch action {
            case .send(let bytes): client.receive(server.exchange(bytes)[...])
            case .prepare(let device):
                #expect(device == Self.device)
                client.start(
                    StartRequest(
                        snaplen: 1000, flags: .serverOpens, dataPort: 4711,
                        filter: [Instruction(.keep, 1000)]))
            case .started:
                seen.append("started")
                client.askForStatistics()
                client.updateFilter([Instruction(.keep, 5)])
                client.end()
            case .statistics(let statistics):
                #expect(statistics.received == 0x22 && statistics.sent == 0x0e)
                seen.append("statistics")
            case .ended:
                seen.append("ended")
                client.close()
            case .close: seen.append("closed")
            }
        }
        #expect(seen == ["started", "statistics", "ended", "closed"])
        #expect(server.starts.map(\.device) == ["any-eth"] && server.filters == 1)
        #expect(server.starts.map(\.snaplen) == [1000] && server.closeReason != nil)
    }

    static let refusals: [(name: String, bytes: [UInt8])] = [
        ("an error", hex("00 01 00 0b 00 00 00 02 6e 6f")),
        ("another version", hex("01 88 00 00 00 00 00 00")),
        ("a reply to something else", hex("00 82 00 00 00 00 00 00")),
        ("a login reply of 1 byte", hex("00 88 00 00 00 00 00 01 00")),
        ("a login reply of 4 bytes", hex("00 88 00 00 00 00 00 04 00 00 00 00")),
        ("versions from 1", hex("00 88 00 00 00 00 00 02 01 02")),
        ("2 GiB", hex("00 88 00 00 7f ff ff ff")),
        ("HTTP", Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)),
    ]

    @Test("closes with a reason when the server is none", arguments: 0..<refusals.count)
    func refused(row: Int) {
        var client = ClientSession()
        _ = client.nextAction()
        client.receive(Self.refusals[row].bytes[...])
        guard case .close(let reason)? = client.nextAction() else {
            Issue.record("\(Self.refusals[row].name) is taken")
            return
        }
        #expect(!reason.isEmpty && client.nextAction() == nil)
    }

    @Test("survives any bytes", arguments: 1...200 as ClosedRange<UInt64>)
    func garbage(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var client = ClientSession()
        let replies: [UInt8] = [0x88, 0x82, 0x83, 0x84, 0x89, 0x01]
        for _ in 0..<50 {
            var bytes: [UInt8] = [
                0, replies.randomElement(using: &generator) ?? 0, 0,
                .random(in: 0...3, using: &generator), 0, 0,
            ]
            bytes += (0..<Int.random(in: 2...600, using: &generator)).map { _ in
                .random(in: 0...3, using: &generator)
            }
            client.receive(bytes[...])
            while client.nextAction() != nil {}
        }
    }
}

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
        var generator = SeededGenerator(seed: seed)
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
            .malformed("a packet of 1 bytes in 20")
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
}
