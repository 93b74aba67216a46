import Addressing
import BPF
import Edges
import Forwarding
import KernelSupport
import Linux
import Metrics
import RPCAP
import Settings
import Testing
import Time

/// Several sessions that share one capture.
extension LiveCaptureTests {
    /// The sessions of a node, which all want its end, whatever passes there.
    final class Sessions {
        private let settings: Settings
        private let feed: NodePublisher
        private let hub = CaptureHub(logger: quiet)
        private let memory = RingMemory(byteCountMax: 16 << 20)

        init() throws {
            settings = try Settings(
                options: [
                    .podNetworks: "10.244.0.0/16", .includedEdges: "here", .deduplication: "off",
                ], needsPeer: false, environment: { _ in nil })
            feed = NodePublisher(RuleSettings(settings), node: try Node.read(settings.edges))
        }

        /// Begins a session.
        func begin(
            to connection: consuming sending DataConnection, filter: Program? = nil,
            snaplen: Int? = nil, sampling: Sampling = .none, queueByteCountMax: Int = 16 << 20,
            restoresWireForm: Bool = true
        ) throws -> LiveCapture {
            var capture = settings.capture
            capture.queueByteCountMax = queueByteCountMax
            capture.snaplen = snaplen ?? capture.snaplen
            capture.restoresWireForm = restoresWireForm
            let plan = CapturePlan(
                feed: feed, tracksConnections: false, filter: filter, settings: capture,
                ringMemory: memory, sampling: sampling, senderPolicy: .never)
            return try LiveCapture(
                plan, to: connection, for: "sensor", CaptureCounters(), in: hub, logger: quiet)
        }
    }

    /// A filter that keeps frames of even numbers.
    static func evenFrames() throws -> Program {
        try Program(checking: [
            Instruction(.loadByte, 14),
            Instruction(.jumpIfAny, 1, ifTrue: 1, ifFalse: 0),
            Instruction(.keep, 262_144),
            Instruction(.keep, 0),
        ])
    }

    @Test("each get every packet from the same rings, and number them by themselves")
    func sharedRings() throws {
        try Self.onNode {
            let sessions = try Sessions()
            let first = try Reader()
            let early = try sessions.begin(to: try first.connection())
            try Self.send(50)
            #expect(try first.packets(50).map(\.number) == (1...50).map { UInt32($0) })
            let second = try Reader()
            let late = try sessions.begin(to: try second.connection())
            #expect(early.gauges === late.gauges)
            let ringByteCount = early.gauges.ringBytes.value
            try Self.send(100)
            let (seen, seenLate) = (try first.packets(100), try second.packets(100))
            #expect(seen.map(\.last) == (0..<100).map { UInt8($0) })
            #expect(seen.map(\.number) == (51...150).map { UInt32($0) })
            #expect(seenLate.map(\.last) == seen.map(\.last))
            #expect(seenLate.map(\.number) == (1...100).map { UInt32($0) })
            #expect(early.gauges.ringBytes.value == ringByteCount)
            Self.finish(early)
            try Self.send(10)
            #expect(try second.packets(10).map(\.number) == (101...110).map { UInt32($0) })
            Self.finish(late)
            #expect(early.counters[.packetsSent] == 150 && late.counters[.packetsSent] == 110)
            #expect(late.counters.counts.frames[.forwarded] == 110)
        }
    }

    @Test("lose nothing because another one is slow, which loses its own packets only")
    func slowPeer() throws {
        try Self.onNode {
            let sessions = try Sessions()
            let idle = try Reader(takesLittle: true)
            let slow = try sessions.begin(to: try idle.connection(), queueByteCountMax: 1 << 20)
            let pair = try Reader()
            let quick = try sessions.begin(to: try pair.connection())
            for _ in 0..<20 {
                try Self.send(200, byteCount: 1500)
                #expect(try pair.packets(200).count == 200)
            }
            quick.count()
            #expect(slow.counters[.packetsDroppedByQueue] > 1000)
            #expect(quick.counters[.packetsDroppedByQueue] == 0)
            for capture in [slow, quick] {
                #expect(capture.counters.counts.frames.matched >= 4000)
                #expect(capture.counters.counts.frames[.droppedByRing] == 0)
            }
            Self.finish(slow)
            Self.finish(quick)
            #expect(slow.counters[.packetsAbandoned] > 0)
            _ = idle
        }
    }

    /// With frames as captured each has a capture of its own.
    @Test("differ in filter, snap length and sampling", arguments: [true, false])
    func differentForms(restoresWireForm: Bool) throws {
        try Self.onNode {
            let sessions = try Sessions()
            let wishes: [(filter: Program?, snaplen: Int?, sampling: Sampling)] = [
                (nil, nil, .none), (try Self.evenFrames(), nil, .none), (nil, 60, .none),
                (nil, nil, .onePacketIn(10)), (try Self.evenFrames(), nil, .none),
            ]
            let pairs = try wishes.map { _ in try Reader() }
            var captures: [LiveCapture] = []
            for (pair, wish) in zip(pairs, wishes) {
                captures.append(
                    try sessions.begin(
                        to: try pair.connection(), filter: wish.filter, snaplen: wish.snaplen,
                        sampling: wish.sampling, restoresWireForm: restoresWireForm))
            }
            try Self.send(100)
            let all = (0..<100).map { UInt8($0) }
            let even = all.filter { $0 % 2 == 0 }
            let tenth = all.filter { $0 % 10 == 0 }
            for (reader, (bytes, byteCount)) in zip(
                pairs, [(all, 100), (even, 100), (all, 60), (tenth, 100), (even, 100)])
            {
                let seen = try reader.packets(bytes.count)
                #expect(seen.map(\.last) == bytes)
                #expect(seen.map(\.number) == (1...UInt32(bytes.count)).map { $0 })
                #expect(seen.map(\.byteCount) == bytes.map { _ in byteCount })
            }
            #expect(captures[1].counters.counts.frames[.filtered] == 50)
            #expect(captures[3].counters.counts.frames[.sampledOut] == 90)
            // All want the same from now on, so that the kernel can filter again.
            try captures[1].adopt(nil)
            try captures[0].adopt(try Self.evenFrames())
            try Self.send(10)
            #expect(try pairs[0].packets(5).map(\.last) == [0, 2, 4, 6, 8])
            #expect(try pairs[1].packets(10).map(\.last) == (0..<10).map { UInt8($0) })
            for capture in captures[..<4] { Self.finish(capture) }
            try Self.send(10)
            let numbers = try pairs[4].packets(10).map(\.number)
            #expect(numbers == (51...60).map { UInt32($0) })
            Self.finish(captures[4])
        }
    }

    /// Sends UDP datagrams, about which the kernel's program decides, with ever higher last bytes.
    static func sendDatagrams(_ count: Int) throws {
        let sender = try PacketSender(on: try interfaceIndex("here"))
        let headers: [UInt8] = [
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17, 0, 0,
            192, 0, 2, 1, 198, 51, 100, 2, 0, 9, 0, 99, 0, 66, 0, 0,
        ]
        for number in 0..<count {
            try sender.send(
                headers + [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 58))
        }
    }

    /// A filter that keeps such datagrams with even numbers.
    static func evenDatagrams() throws -> Program {
        try Program(checking: [
            Instruction(.loadByte, 60),
            Instruction(.jumpIfAny, 1, ifTrue: 1, ifFalse: 0),
            Instruction(.keep, 262_144),
            Instruction(.keep, 0),
        ])
    }

    @Test("get nothing that their filter refuses while others come to have the same, or leave")
    func filterReturnsToKernel() throws {
        try Self.onNode {
            let sessions = try Sessions()
            let (first, second) = (try Reader(), try Reader())
            let even = try sessions.begin(
                to: try first.connection(), filter: try Self.evenDatagrams())
            let all = try sessions.begin(to: try second.connection())
            for number in 0..<6 {
                // What the ring holds has been let in while filters differed.
                try Self.sendDatagrams(40)
                try all.adopt(number % 2 == 0 ? try Self.evenDatagrams() : nil)
            }
            try Self.sendDatagrams(40)
            Self.finish(all)
            try Self.sendDatagrams(40)
            let expected = (0..<8).flatMap { _ in (0..<20).map { UInt8(2 * $0) } }
            #expect(try first.packets(160).map(\.last) == expected)
            Self.finish(even)
            #expect(even.counters[.packetsSent] == 160)
        }
    }

    @Test("go on when a peer goes away, and begin anew when all have left")
    func peerGone() throws {
        try Self.onNode {
            let sessions = try Sessions()
            let pair = try Reader()
            let staying = try sessions.begin(to: try pair.connection())
            let leaving = try Self.closing(sessions)
            let deadline = MonotonicTime.now + .seconds(60)
            while leaving.endReason == nil, MonotonicTime.now < deadline {
                try Self.send(10)
                #expect(try pair.packets(10).count == 10)
            }
            #expect(leaving.endReason != nil && staying.endReason == nil)
            Self.finish(leaving)
            try Self.send(10)
            #expect(try pair.packets(10).count == 10)
            let gauges = staying.gauges
            Self.finish(staying)
            let next = try Reader()
            let anew = try sessions.begin(to: try next.connection())
            #expect(anew.gauges !== gauges)
            try Self.send(10)
            #expect(try next.packets(10).map(\.number) == (1...10).map { UInt32($0) })
            Self.finish(anew)
        }
    }

    /// A session whose peer has closed its connection.
    private static func closing(_ sessions: Sessions) throws -> LiveCapture {
        try sessions.begin(to: try Reader().connection())
    }

    /// A connection of which one end is read here, one of several.
    private final class Reader {
        private var pair: Pair
        private let other: TransferBox<DataConnection>

        init(takesLittle: Bool = false) throws {
            var other = DataConnection.awaited
            pair = try Pair(&other, takesLittle: takesLittle)
            self.other = TransferBox(other)
        }

        /// The other end, for a session.
        func connection() throws -> sending DataConnection {
            guard let other = other.take() else { throw SystemError("connect", .connectionAbort) }
            return other
        }

        func packets(_ count: Int) throws -> [Pair.Seen] { try pair.packets(count) }
    }
}
