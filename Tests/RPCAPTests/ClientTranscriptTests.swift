import Addressing
import BPF
import FuzzSupport
import RPCAP
import Testing
import Time

@Suite("What a client session says")
struct ClientTranscriptTests {
    /// A session, and what it has done for the bytes it was given.
    private struct Client {
        var session: ClientSession
        private(set) var sent: [UInt8] = []
        private(set) var events: [ClientSession.Action] = []
        var request = StartRequest(snaplen: 65_535, flags: .promiscuous, dataPort: 0, filter: [])

        init(_ mode: ClientSession.Mode, _ goal: ClientSession.Goal = ClientSession.Goal()) {
            session = ClientSession(mode, goal, now: .zero)
        }

        /// Gives it bytes, and answers what it sent for them.
        mutating func exchange(_ bytes: [UInt8] = []) -> [UInt8] {
            (sent, events) = ([], [])
            session.receive(bytes[...])
            while let action = session.nextAction(now: .zero) {
                switch action {
                case .send(let bytes): sent += bytes
                case .prepare: session.start(request, now: .zero)
                default: events.append(action)
                }
            }
            return sent
        }

        var closeReason: String? {
            for case .close(let reason) in events { return reason }
            return nil
        }
    }

    private static func goal(
        _ change: (inout ClientSession.Goal) -> Void
    ) -> ClientSession.Goal {
        var goal = ClientSession.Goal()
        change(&goal)
        return goal
    }

    private static let filter = [Instruction(.keep, 65_535)]
    private static let filterBytes = "00 01 00 00 00 00 00 01 00 06 00 00 00 00 ff ff"

    @Test("is what libpcap's client says in passive mode over TCP")
    func passive() {
        var client = Client(.passive, Self.goal { $0.device = "lo" })
        client.request = StartRequest(
            snaplen: 65_535, flags: [], dataPort: 0, filter: Self.filter)
        #expect(
            client.exchange() == hex("00 08 00 00 00 00 00 08  00 00 00 00 00 00 00 00"))
        #expect(client.exchange(Replies.login) == hex("00 02 00 00 00 00 00 00"))
        #expect(client.exchange(Replies.list) == hex("00 03 00 00 00 00 00 02 6c 6f"))
        #expect(
            client.exchange(Replies.open)
                == hex(
                    "00 04 00 00 00 00 00 1c  00 00 ff ff 00 00 01 f4 00 00 00 00"
                        + Self.filterBytes))
        #expect(client.exchange(Replies.start).isEmpty)
        guard case .started(let reply)? = client.events.first else {
            Issue.record("not started")
            return
        }
        #expect(reply.dataPort == 39_877 && reply.bufferByteCount == 262_144)
        client.session.askForStatistics(now: .zero)
        #expect(client.exchange() == hex("00 09 00 00 00 00 00 00"))
        _ = client.exchange(Replies.statistics)
        #expect(client.events == [.statistics(CaptureStatistics(received: 0x22, sent: 0x0e))])
        client.session.updateFilter([Instruction(.keep, UInt32.max)], now: .zero)
        #expect(client.exchange() == Request.update)
        client.session.end(now: .zero)
        // One request at a time.
        #expect(client.exchange().isEmpty)
        #expect(client.exchange(Replies.update) == hex("00 0a 00 00 00 00 00 00"))
        #expect(client.exchange(Replies.end).isEmpty && client.events == [.ended])
        client.session.close()
        #expect(client.exchange() == hex("00 06 00 00 00 00 00 00"))
        #expect(client.closeReason != nil)
    }

    @Test("is what libpcap's client says in the other ways that data can come")
    func ways() {
        let rows: [(ClientSession.Mode, StartRequest.Flags, UInt16, String)] = [
            (.passive, .udp, 46_181, "00 02 b4 65"),
            (.active, .serverOpens, 39_745, "00 04 9b 41"),
            (.active, [.udp, .serverOpens], 34_684, "00 06 87 7c"),
        ]
        for (mode, flags, port, bytes) in rows {
            var client = Client(mode)
            client.request = StartRequest(
                snaplen: 65_535, flags: flags, dataPort: port, filter: Self.filter)
            _ = client.exchange(Replies.login + Replies.list)
            let sent = client.exchange(Replies.open)
            #expect(
                sent
                    == hex(
                        "00 04 00 00 00 00 00 1c  00 00 ff ff 00 00 01 f4" + bytes
                            + Self.filterBytes))
            // No port is needed where the server opens.
            _ = client.exchange(Replies.startWithoutPort)
            #expect(client.closeReason == nil && client.session.isCapturing)
            client.session.close()
            #expect(client.exchange().isEmpty == (mode == .active))
        }
    }

    @Test("has user and password in a login that has them")
    func login() {
        let login = LoginRequest.password(user: Array("user".utf8), password: Array("pw".utf8))
        var client = Client(.passive, Self.goal { $0.login = login })
        #expect(
            client.exchange()
                == hex("00 08 00 00 00 00 00 0e  00 01 00 00 00 04 00 02 75 73 65 72 70 77"))
        _ = client.exchange(Replies.error(18, "wrong\u{1b}[2J"))
        #expect(client.closeReason == "the peer refused: wrong?[2J (error 18)")
        // A longer text than there may be is cut.
        client = Client(.passive)
        let text = [UInt8](repeating: UInt8(ascii: "a"), count: 300)
        _ = client.exchange(hex("00 01 00 03 00 00 01 2c") + text)
        let kept = String(repeating: "a", count: 255)
        #expect(client.closeReason == "the peer refused: \(kept) (error 3)")
    }

    @Test("asks for sampling between open and start, and starts also where that is refused")
    func sampling() {
        let goal = Self.goal { $0.sampling = .onePacketIn(5) }
        for reply in [Replies.sampling, Replies.error(15, "no")] {
            var client = Client(.passive, goal)
            _ = client.exchange(Replies.login + Replies.list)
            #expect(
                client.exchange(Replies.open)
                    == hex("00 0b 00 00 00 00 00 08  01 00 00 00 00 00 00 05"))
            #expect(client.exchange(reply).prefix(2) == [0, 4])
            #expect(client.closeReason == nil)
        }
    }

    @Test("goes on when statistics, a filter or the end are refused")
    func refusals() {
        var client = Client(.passive)
        _ = client.exchange(Replies.login + Replies.list + Replies.open + Replies.start)
        client.session.askForStatistics(now: .zero)
        _ = client.exchange(Replies.error(8, "not now"))
        #expect(client.events == [.note("statistics: the peer refused: not now (error 8)")])
        client.session.updateFilter(Self.filter, now: .zero)
        _ = client.exchange(Replies.error(7, "no"))
        #expect(client.closeReason == nil && client.session.isIdle && client.session.isCapturing)
        client.session.end(now: .zero)
        _ = client.exchange(Replies.error(13, "no"))
        #expect(client.events.last == .ended && !client.session.isCapturing)
    }

    @Test("ends where login, list, open or start are refused, and when reading has failed")
    func ends() {
        let replies = [Replies.login, Replies.list, Replies.open, Replies.start]
        for count in 0...replies.count {
            var client = Client(.passive)
            _ = client.exchange(replies.prefix(count).flatMap { $0 })
            if count == replies.count { client.session.askForStatistics(now: .zero) }
            _ = client.exchange(Replies.error(count == replies.count ? 9 : 12, "no"))
            #expect(client.closeReason?.contains("the peer refused: no") == true, "\(count)")
        }
    }

    @Test("is about the device that was named, or says which there are")
    func devices() {
        var client = Client(.passive, Self.goal { $0.device = "eth7" })
        _ = client.exchange(Replies.login + Replies.list)
        #expect(
            client.closeReason == "there is no device eth7, the peer offers lo, any-eth")
        client = Client(.passive)
        #expect(
            client.exchange(Replies.login + Replies.list).suffix(7) == Array("any-eth".utf8)[...])
        client = Client(.passive, Self.goal { $0.listsOnly = true })
        _ = client.exchange(Replies.login + Replies.list)
        guard case .listed(let devices)? = client.events.first else {
            Issue.record("not listed")
            return
        }
        #expect(devices.map(\.name) == ["lo", "any-eth"] && client.events.count == 2)
        client = Client(.passive)
        _ = client.exchange(Replies.login + hex("00 82 00 00 00 00 00 00"))
        #expect(client.closeReason == "the peer has nothing to capture from")
    }

    static let broken: [([[UInt8]], [UInt8])] = [
        // A list that ends early, a name of 1,025 bytes, and one device too many.
        ([Replies.login], hex("00 82 00 01 00 00 00 04 00 02 00 00")),
        (
            [Replies.login],
            hex("00 82 00 01 00 00 04 0d 04 01 00 00 00 00 00 37 00 00 00 00")
                + [UInt8](repeating: 0x61, count: 1025)
        ),
        ([Replies.login], hex("00 82 00 02 00 00 00 0e 00 02 00 00 00 00 00 37 00 00 00 00 6c 6f")),
        // Open, start and statistics that are too short; a link type that files do not have.
        ([Replies.login, Replies.list], hex("00 83 00 00 00 00 00 07 00 00 00 01 00 00 00")),
        ([Replies.login, Replies.list], hex("00 83 00 00 00 00 00 08 ff ff ff ff 00 00 00 00")),
        (
            [Replies.login, Replies.list, Replies.open],
            hex("00 84 00 00 00 00 00 04 00 00 00 00")
        ),
        ([Replies.login, Replies.list, Replies.open], Replies.startWithoutPort),
        // Nobody has asked.
        ([Replies.login, Replies.list, Replies.open, Replies.start], Replies.statistics),
        ([Replies.login, Replies.list, Replies.open, Replies.start], Request.packet),
    ]

    @Test("is not believed when it is malformed", arguments: 0..<broken.count)
    func malformed(row: Int) {
        let (before, bytes) = Self.broken[row]
        var client = Client(.passive)
        _ = client.exchange(before.flatMap { $0 } + bytes)
        #expect(client.closeReason != nil)
    }

    @Test("is followed by an answer within 30 seconds, or nothing")
    func deadline() {
        var client = Client(.passive)
        _ = client.exchange()
        #expect(client.session.deadline == MonotonicTime.zero + ClientSession.replyTimeMax)
        client.session.expire(now: .zero + ClientSession.replyTimeMax)
        _ = client.exchange()
        #expect(client.closeReason == nil)
        client.session.expire(now: .zero + ClientSession.replyTimeMax + .nanoseconds(1))
        _ = client.exchange()
        #expect(
            client.closeReason == "the peer has not answered within 30 s when asked for a login")
        // While nothing is asked, nothing is late.
        client = Client(.passive)
        _ = client.exchange(Replies.login + Replies.list + Replies.open + Replies.start)
        #expect(client.session.deadline == nil)
        client.session.expire(now: .distantFuture)
        _ = client.exchange()
        #expect(client.closeReason == nil)
    }

    @Test("is the same however the replies are cut", arguments: 1...20 as ClosedRange<UInt64>)
    func splits(seed: UInt64) {
        let replies = Replies.login + Replies.list + Replies.open + Replies.start
        var whole = Client(.passive)
        let expected = whole.exchange() + whole.exchange(replies)
        var generator = RandomNumbers(seed)
        var client = Client(.passive)
        var (sent, rest) = (client.exchange(), replies[...])
        while !rest.isEmpty {
            let part = rest.prefix(Int.random(in: 1...9, using: &generator))
            rest = rest.dropFirst(part.count)
            sent += client.exchange(Array(part))
        }
        #expect(sent == expected && client.session.isCapturing)
    }
}
