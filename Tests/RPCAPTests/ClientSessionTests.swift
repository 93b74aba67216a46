import Addressing
import BPF
import FuzzSupport
import RPCAP
import Testing
import Time

@Suite("A client session")
struct ClientSessionTests {
    private static let device = Device(
        name: "any-eth", description: "pods", isPreselected: true,
        addresses: [Device.Address(IPAddress(ipv4: 0x0af4_0101), prefixBitCount: 16)])

    @Test("comes to an understanding with the server, and opens what is preselected")
    func together() {
        var server = Driver(devices: [Device(name: "other"), Self.device])
        var client = ClientSession(.active, now: .zero)
        var seen: [String] = []
        while let action = client.nextAction(now: .zero) {
            switch action {
            case .send(let bytes): client.receive(server.exchange(bytes)[...])
            case .prepare(let device, let linkType):
                #expect(device == Self.device && linkType == 1)
                #expect(client.peerAddresses == [IPAddress(ipv4: 0x0af4_0101)])
                client.start(
                    StartRequest(
                        snaplen: 1000, flags: .serverOpens, dataPort: 4711,
                        filter: [Instruction(.keep, 1000)]), now: .zero)
            case .started:
                seen.append("started")
                client.askForStatistics(now: .zero)
                client.updateFilter([Instruction(.keep, 5)], now: .zero)
                client.end(now: .zero)
            case .statistics(let statistics):
                #expect(statistics.received == 0x22 && statistics.sent == 0x0e)
                seen.append("statistics")
            case .ended:
                seen.append("ended")
                client.close()
            case .close: seen.append("closed")
            case .note(let text): Issue.record("\(text)")
            case .listed: Issue.record("nobody has asked for a list")
            }
        }
        #expect(seen == ["started", "statistics", "ended", "closed"])
        #expect(server.starts.map(\.device) == ["any-eth"] && server.filters == 1)
        #expect(server.starts.map(\.snaplen) == [1000] && server.closeReason == nil)
    }

    static let refusals: [(name: String, bytes: [UInt8])] = [
        ("an error", hex("00 01 00 0b 00 00 00 02 6e 6f")),
        ("another version", hex("01 88 00 00 00 00 00 00")),
        ("a reply to something else", hex("00 82 00 00 00 00 00 00")),
        ("a login reply of 1 byte", hex("00 88 00 00 00 00 00 01 00")),
        ("a login reply of 4 bytes", hex("00 88 00 00 00 00 00 04 00 00 00 00")),
        ("a login reply of 7 bytes", hex("00 88 00 00 00 00 00 07 00 00 00 00 d4 c3 b2")),
        ("versions from 1", hex("00 88 00 00 00 00 00 02 01 02")),
        ("versions upside down", hex("00 88 00 00 00 00 00 02 01 00")),
        ("no byte order", hex("00 88 00 00 00 00 00 08 00 00 00 00 d4 c3 b2 a0")),
        ("2 GiB", hex("00 88 00 00 7f ff ff ff")),
        ("HTTP", Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)),
    ]

    @Test("closes with a reason when the server is none", arguments: 0..<refusals.count)
    func refused(row: Int) {
        var client = ClientSession(.active, now: .zero)
        _ = client.nextAction(now: .zero)
        client.receive(Self.refusals[row].bytes[...])
        guard case .close(let reason)? = client.nextAction(now: .zero) else {
            Issue.record("\(Self.refusals[row].name) is taken")
            return
        }
        #expect(!reason.isEmpty && client.nextAction(now: .zero) == nil && client.deadline == nil)
    }

    @Test(
        "takes every form of login reply that there is",
        arguments: [
            "00 88 00 00 00 00 00 00", "00 88 00 00 00 00 00 02 00 07",
            "00 88 00 00 00 00 00 08 00 00 00 00 d4 c3 b2 a1",
            "00 88 00 00 00 00 00 08 00 00 00 00 a1 b2 c3 d4",
            "00 88 00 00 00 00 00 0a 00 00 00 00 a1 b2 c3 d4 ff ff",
        ])
    func loginReplies(reply: String) {
        var client = ClientSession(.passive, now: .zero)
        _ = client.nextAction(now: .zero)
        client.receive(hex(reply)[...])
        #expect(client.nextAction(now: .zero) == .send(Request.list))
    }

    @Test("survives any bytes", arguments: Fuzz.seeds)
    func garbage(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            var goal = ClientSession.Goal()
            goal.sampling = seed % 2 == 0 ? .none : .onePacketIn(7)
            var client = ClientSession(seed % 3 == 0 ? .active : .passive, goal, now: .zero)
            for _ in 0..<50 {
                client.receive(Self.reply(&generator)[...])
                while let action = client.nextAction(now: .zero) {
                    if case .prepare = action {
                        client.start(
                            StartRequest(snaplen: 64, flags: [], dataPort: 0, filter: []),
                            now: .zero)
                    }
                    if case .started = action { client.askForStatistics(now: .zero) }
                    if case .statistics = action { client.end(now: .zero) }
                }
            }
        }
    }

    /// Bytes that have some chance of being taken for a reply.
    private static func reply(_ generator: inout RandomNumbers) -> [UInt8] {
        if Bool.random(using: &generator) { return Replies.all.randomElement(using: &generator)! }
        let replies: [UInt8] = [0x88, 0x82, 0x83, 0x84, 0x89, 0x8b, 0x8a, 0x01]
        let bytes: [UInt8] = [
            0, replies.randomElement(using: &generator) ?? 0, 0,
            .random(in: 0...3, using: &generator), 0, 0,
        ]
        return bytes
            + (0..<Int.random(in: 2...600, using: &generator)).map { _ in
                .random(in: 0...3, using: &generator)
            }
    }
}

/// Replies as servers send them.
enum Replies {
    static let login = hex("00 88 00 00 00 00 00 08  00 00 00 00 d4 c3 b2 a1")
    /// "lo", then "any-eth" with the mark of a preselected device.
    static let list =
        hex("00 82 00 02 00 00 00 2d")
        + hex("00 02 00 00 00 00 00 37 00 00 00 00 6c 6f")
        + hex("00 07 00 0c 00 00 00 16 00 00 00 00")
        + Array("any-eth;preselected".utf8)
    static let open = hex("00 83 00 00 00 00 00 08 00 00 00 01 00 00 00 00")
    static let start = hex("00 84 00 00 00 00 00 08  00 04 00 00 9b c5 00 00")
    static let startWithoutPort = hex("00 84 00 00 00 00 00 08  00 04 00 00 00 00 00 00")
    static let sampling = hex("00 8b 00 00 00 00 00 00")
    static let update = hex("00 85 00 00 00 00 00 00")
    static let statistics = hex(
        "00 89 00 00 00 00 00 10  00 00 00 22 00 00 00 00 00 00 00 00 00 00 00 0e")
    static let end = hex("00 8a 00 00 00 00 00 00")
    static func error(_ code: UInt8, _ text: String) -> [UInt8] {
        [0, 1, 0, code, 0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8)
    }

    static let all = [
        login, list, open, start, startWithoutPort, sampling, update, statistics, end,
        error(3, "no"), error(8, "no"), error(15, "no"),
    ]
}
