import Addressing
import Flows
import Testing

@Suite("Conversations")
struct ConversationTests {
    private static let (one, two) = ("10.244.1.2", "10.244.2.3")
    private static let syn: UInt8 = 2
    private static let (rst, ack): (UInt8, UInt8) = (4, 16)

    /// A frame with an IPv4 packet; ports and flags stand where TCP has them.
    private static func frame(
        _ source: String, _ destination: String, _ transport: UInt8, _ payload: [UInt8],
        tags: [UInt8] = []
    ) throws -> [UInt8] {
        let addresses = try [source, destination].flatMap { try #require(IPAddress($0)).bytes }
        let length = UInt8(20 + payload.count)
        return [UInt8](repeating: 2, count: 12) + tags + [8, 0]
            + [0x45, 0, 0, length, 0, 0, 0, 0, 64, transport, 0, 0] + addresses + payload
    }

    private static func segment(_ source: UInt16, _ destination: UInt16, _ flags: UInt8) -> [UInt8]
    {
        [source, destination].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
            + [0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]
    }

    private static func echo(_ type: UInt8, _ sequence: UInt8) -> [UInt8] {
        [type, 0, 0, 0, 0, 7, 0, sequence]
    }

    private struct Seen {
        var table = ConversationTable()

        mutating func add(_ frame: [UInt8], at seconds: Double, wire: Int? = nil) {
            table.add(
                frame.wire, wireByteCount: wire ?? frame.count,
                nanoseconds: UInt64(seconds * 1e9))
        }

        /// The only conversation.
        func only() throws -> (key: Conversation, value: ConversationCounts) {
            #expect(table.conversations.count == 1)
            return try #require(table.conversations.first)
        }
    }

    @Test("have the client that opens the connection, and what each end has sent")
    func connection() throws {
        var seen = Seen()
        seen.add(try Self.frame(Self.one, Self.two, 6, Self.segment(80, 40000, Self.syn)), at: 1)
        seen.add(
            try Self.frame(Self.two, Self.one, 6, Self.segment(40000, 80, Self.syn | Self.ack)),
            at: 1.5)
        seen.add(
            try Self.frame(Self.one, Self.two, 6, Self.segment(80, 40000, Self.ack)), at: 2,
            wire: 1000
        )
        let (conversation, counts) = try seen.only()
        #expect("\(conversation.client) \(conversation.service)" == "\(Self.one) \(Self.two)")
        #expect(conversation.portText == "40000/tcp")
        #expect((counts.client.packetCount, counts.client.byteCount) == (2, 1054))
        #expect((counts.service.packetCount, counts.service.byteCount) == (1, 54))
        #expect((counts.first, counts.last) == (1_000_000_000, 2_000_000_000))
        #expect((counts.requestCount, counts.refusedCount, counts.unansweredCount) == (1, 0, 0))
    }

    @Test("are one for all connections of a client to a service")
    func connections() throws {
        var seen = Seen()
        for port in 40000..<40100 as Range<UInt16> {
            seen.add(try Self.frame(Self.one, Self.two, 6, Self.segment(port, 80, Self.syn)), at: 1)
            seen.add(
                try Self.frame(Self.two, Self.one, 6, Self.segment(80, port, Self.syn | Self.ack)),
                at: 1)
        }
        #expect(try seen.only().value.requestCount == 100)
    }

    @Test(
        "take the higher port for the client's where no opening is seen, in both directions",
        arguments: [(6, 4242), (17, 4242), (132, 80)] as [(UInt8, UInt16)])
    func guess(transport: UInt8, client: UInt16) throws {
        var seen = Seen()
        seen.add(
            try Self.frame(Self.two, Self.one, transport, Self.segment(53, client, Self.ack)), at: 1
        )
        seen.add(
            try Self.frame(Self.one, Self.two, transport, Self.segment(client, 53, Self.ack)), at: 1
        )
        let (conversation, counts) = try seen.only()
        #expect("\(conversation.client)" == Self.one && conversation.port == 53)
        #expect(counts.client.packetCount == 1 && counts.service.packetCount == 1)
    }

    @Test("count refused requests, by a reset and by an ICMP error")
    func refused() throws {
        var seen = Seen()
        let request = try Self.frame(Self.one, Self.two, 6, Self.segment(40000, 80, Self.syn))
        seen.add(request, at: 1)
        seen.add(
            try Self.frame(Self.two, Self.one, 6, Self.segment(80, 40000, Self.rst | Self.ack)),
            at: 1)
        #expect(try seen.only().value.refusedCount == 1)
        // A reset of a connection that stands is no refusal.
        seen.add(
            try Self.frame(Self.two, Self.one, 6, Self.segment(80, 40000, Self.rst | Self.ack)),
            at: 1)
        #expect(try seen.only().value.refusedCount == 1)
        seen.add(request, at: 2)
        seen.add(
            try Self.frame(
                "10.244.1.1", Self.one, 1, [3, 13, 0, 0, 0, 0, 0, 0] + request.dropFirst(14)), at: 2
        )
        // The error counts as one of the service's packets.
        let counts = try seen.only().value
        #expect((counts.requestCount, counts.refusedCount) == (2, 2))
        #expect((counts.client.packetCount, counts.service.packetCount) == (2, 3))
    }

    @Test("wait for answers by the time at which packets come, whatever agents' clocks say")
    func clocks() throws {
        var table = ConversationTable()
        let request = try Self.frame(Self.one, Self.two, 6, Self.segment(40000, 80, Self.syn))
        let answer = try Self.frame(
            Self.two, Self.one, 6, Self.segment(80, 40000, Self.syn | Self.ack))
        let lone = try Self.frame(Self.one, Self.two, 6, Self.segment(40001, 80, Self.syn))
        let second: UInt64 = 1_000_000_000
        // The clock of the first agent is far behind, that of another one ahead.
        table.add(request.wire, wireByteCount: 60, nanoseconds: 0, clock: 100 * second)
        table.add(lone.wire, wireByteCount: .max, nanoseconds: 900 * second, clock: 100 * second)
        table.add(answer.wire, wireByteCount: 60, nanoseconds: 50 * second, clock: 102 * second)
        func unanswered() -> Int { table.conversations.first?.value.unansweredCount ?? -1 }
        #expect(unanswered() == 0)
        table.advance(to: 102 * second)
        #expect(unanswered() == 0)
        // Nothing more comes, and the one without an answer is found out all the same.
        table.advance(to: 104 * second)
        #expect(unanswered() == 1)
        #expect(table.byteCount == 120 + 1 << 20)
    }

    @Test("count requests that nobody has answered after three seconds, each once")
    func unanswered() throws {
        var seen = Seen()
        let request = try Self.frame(Self.one, Self.two, 6, Self.segment(40000, 80, Self.syn))
        for time in [1.0, 2.0, 3.9] { seen.add(request, at: time) }
        #expect(try seen.only().value.unansweredCount == 0)
        // The client asks once more, which is another request now.
        seen.add(request, at: 5)
        seen.add(request, at: 5.1)
        seen.add(
            try Self.frame(Self.two, Self.one, 6, Self.segment(80, 40000, Self.syn | Self.ack)),
            at: 5.2)
        let counts = try seen.only().value
        #expect((counts.requestCount, counts.unansweredCount) == (2, 1))
    }

    @Test("tell pings apart by their numbers")
    func pings() throws {
        var seen = Seen()
        for number in 0..<4 as Range<UInt8> {
            seen.add(try Self.frame(Self.one, Self.two, 1, Self.echo(8, number)), at: 1)
        }
        for number in [0, 2] as [UInt8] {
            seen.add(try Self.frame(Self.two, Self.one, 1, Self.echo(0, number)), at: 1.1)
        }
        seen.add(try Self.frame(Self.one, Self.two, 1, Self.echo(8, 9)), at: 6)
        let (conversation, counts) = try seen.only()
        #expect(conversation.port == nil && conversation.portText == "icmp")
        #expect((counts.requestCount, counts.unansweredCount) == (5, 2))
    }

    @Test("are found behind VLAN tags; other frames are counted, however short")
    func frames() throws {
        var seen = Seen()
        seen.add(
            try Self.frame(
                Self.one, Self.two, 6, Self.segment(40000, 80, Self.syn),
                tags: [0x88, 0xa8, 0, 1, 0x81, 0, 0, 2]), at: 1)
        #expect(try seen.only().key.port == 80)
        let whole = try Self.frame(Self.one, Self.two, 6, Self.segment(40000, 80, Self.syn))
        for count in 0..<33 { seen.add(Array(whole.prefix(count)), at: 1) }
        seen.add(
            [UInt8](repeating: 2, count: 12) + [8, 6] + [UInt8](repeating: 0, count: 28), at: 1)
        #expect(try seen.only().value.packetCount == 1)
        #expect(seen.table.otherCount == 34)
    }

    @Test("are bounded: those that were silent for longest are forgotten")
    func bound() throws {
        var table = ConversationTable(countMax: 100)
        for number in 0..<1000 {
            let address = "10.\(number / 250).0.\(number % 250 + 1)"
            let frame = try Self.frame(address, Self.two, 6, Self.segment(40000, 80, Self.syn))
            table.add(
                frame.wire, wireByteCount: 60, nanoseconds: UInt64(number) * 1_000_000)
            #expect(table.conversations.count <= 100)
        }
        let all = table.conversations.map(\.key.client.description)
        #expect(all.contains("10.3.0.250") && !all.contains("10.0.0.1"))
        #expect(all.count + table.forgottenCount == 1000)
        // All at once.
        var same = ConversationTable(countMax: 4)
        for number in 1...9 {
            let frame = try Self.frame(
                "10.0.0.\(number)", Self.two, 6, Self.segment(4, 80, Self.syn))
            same.add(frame.wire, wireByteCount: 60, nanoseconds: 5)
        }
        #expect(same.conversations.count <= 4 && same.conversations.count > 0)
    }
}
