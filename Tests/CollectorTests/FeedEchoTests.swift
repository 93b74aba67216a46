import Addressing
import Collector
import RPCAP
import Testing
import Time

@Suite("A feed that contains itself")
struct FeedEchoTests {
    /// The packet of a data connection with this frame.
    private static func message(
        _ frame: [UInt8], number: UInt32, second: UInt32 = 0, wireByteCount: Int? = nil
    ) -> [UInt8] {
        var bytes: [UInt8] = [0, 7, 0, 0]
        let values = [
            20 + UInt32(frame.count), 1_700_000_000 + second, number % 1_000_000,
            UInt32(frame.count), UInt32(wireByteCount ?? frame.count), number,
        ]
        for value in values { bytes.append(bigEndian: value) }
        return bytes + frame
    }

    private static let headers = [UInt8](repeating: 0x45, count: 54)

    /// A reader of feeds as the collector reads them.
    private final class Reader {
        private var echo = FeedEcho()
        private var shares: [EchoShare]
        private var paces: [EchoPace]

        init(links: Int = 1, isSampled: Bool = false) {
            shares = (0..<links).map { EchoShare(of: $0, isSampled: isSampled) }
            paces = [EchoPace](repeating: EchoPace(), count: links)
        }

        func read(_ message: [UInt8], of link: Int = 0, at time: Duration) throws {
            let now = MonotonicTime.zero + time
            echo.advance(now: now)
            var stream = PacketStream(snaplen: 262_144)
            stream.append(message[...])
            _ = try stream.next { record, frame in
                if let look = echo.take(record, frame, of: link, pace: &paces[link]) {
                    shares[link].count(
                        weight: look.weight, frameByteCount: frame.byteCount,
                        isWhole: record.byteCount == record.wireByteCount, look.finding)
                }
            }
            shares[link].advance(&echo.graph, now: now)
        }

        func isLoop(_ link: Int = 0) -> Bool { shares[link].isLoop }
        func stranger(_ link: Int) -> Int? { shares[link].stranger }
        func find(_ frame: [UInt8]) -> FeedEcho.Finding? { echo.find(in: frame.wire) }
        var budget: EchoBudget { echo.budget }
    }

    @Test("is noticed by the records in its packets, wherever they stand")
    func records() throws {
        for offset in [0, 1, 700] {
            let reader = Reader(links: 8)
            let first = Self.message([1, 2, 3], number: 1)
            try reader.read(first, of: 7, at: .zero)
            let frame = Self.headers + [UInt8](repeating: 7, count: offset) + first
            #expect(reader.find(frame)?.link == 7)
            #expect(reader.find(frame)?.byteCount == first.count)
            // Another session's record of the same packet has another number.
            let other = Self.headers + Self.message([1, 2, 3], number: 2)
            #expect(reader.find(other) == nil)
            #expect(reader.find(frame.dropLast(7)) == nil)
        }
    }

    /// Reads a feed for some seconds, of which one packet in `part` contains the one before.
    ///
    /// - Returns: The second in which it is known as a loop.
    private static func loop(
        packetsPerSecond rate: Int, frameByteCount: Int, part: Int, isWhole: Bool = true,
        isSampled: Bool = false, seconds: Int = 10
    ) throws -> Int? {
        let reader = Reader(isSampled: isSampled)
        var last = Self.message(Self.headers, number: 0)
        for number in 1...rate * seconds {
            let copy = Self.headers + last.prefix(frameByteCount - Self.headers.count)
            let frame =
                number % part == 0 ? copy : [UInt8](repeating: 9, count: frameByteCount)
            last = Self.message(
                frame, number: UInt32(number), second: UInt32(number / rate),
                wireByteCount: isWhole ? nil : 9000)
            try reader.read(last, at: .seconds(1000) + .nanoseconds(1_000_000_000 / rate * number))
            if reader.isLoop() { return number / rate }
        }
        return nil
    }

    @Test("is a loop within a second or two if it is fast, and some seconds if it is slow")
    func loops() throws {
        let fast = try Self.loop(packetsPerSecond: 2000, frameByteCount: 1400, part: 1)
        #expect(fast == 1)
        let slow = try #require(
            try Self.loop(packetsPerSecond: 10, frameByteCount: 150, part: 1))
        #expect((3...6).contains(slow))
    }

    @Test("is a loop also while most of it is something else, if each copy makes a longer one")
    func minority() throws {
        let some = try #require(
            try Self.loop(packetsPerSecond: 500, frameByteCount: 1000, part: 5))
        #expect((3...6).contains(some))
        let cut = try Self.loop(
            packetsPerSecond: 500, frameByteCount: 1000, part: 5, isWhole: false)
        let sampled = try Self.loop(
            packetsPerSecond: 500, frameByteCount: 1000, part: 5, isSampled: true)
        let few = try Self.loop(packetsPerSecond: 500, frameByteCount: 1000, part: 25)
        #expect(cut == nil && sampled == nil && few == nil)
    }

    @Test("is noticed at a rate at which a part of it is looked at")
    func busy() throws {
        let second = try #require(
            try Self.loop(packetsPerSecond: 40_000, frameByteCount: 1400, part: 1, seconds: 3))
        #expect(second <= 2)
        let some = try #require(
            try Self.loop(packetsPerSecond: 20_000, frameByteCount: 1400, part: 4, seconds: 8))
        #expect((3...6).contains(some))
    }

    @Test("is not one that has another feed in it, unless that has this one in it, too")
    func others() throws {
        for isMutual in [false, true] {
            let reader = Reader(links: 2)
            var last = [[UInt8]](repeating: Self.message(Self.headers, number: 0), count: 2)
            for number in 1...8000 {
                let time = Duration.milliseconds(1000 + number)
                let plain = [UInt8](repeating: 9, count: 1000)
                let copy = Self.headers + last[1].prefix(946)
                last[0] = Self.message(isMutual ? copy : plain, number: UInt32(number))
                try reader.read(last[0], of: 0, at: time)
                last[1] = Self.message(
                    Self.headers + last[0].prefix(946), number: UInt32(100_000 + number))
                try reader.read(last[1], of: 1, at: time)
            }
            #expect(reader.isLoop(0) == isMutual && reader.isLoop(1) == isMutual)
            #expect(reader.stranger(1) == (isMutual ? nil : 0))
        }
    }

    @Test("is no other load")
    func load() throws {
        var generator = SystemRandomNumberGenerator()
        let reader = Reader()
        for number in 1...10_000 {
            let frame: [UInt8]
            switch number % 3 {
            case 0: frame = [UInt8](repeating: 0, count: 300)
            case 1: frame = (0..<300).map { _ in .random(in: 0...255, using: &generator) }
            default:
                frame = Self.headers + Self.message(Self.headers, number: UInt32(number + 20_000))
            }
            try reader.read(
                Self.message(frame, number: UInt32(number)), at: .milliseconds(1000 + number))
        }
        #expect(!reader.isLoop())
    }

    @Test("is looked for in a bounded part of all feeds")
    func budget() throws {
        let linkCount = 64
        let reader = Reader(links: linkCount)
        let frame = [UInt8](repeating: 0, count: 1400)
        var (examined, remembered, ticks) = (0, 0, 0)
        for tick in 0..<12 {
            for number in 0..<100 {
                for link in 0..<linkCount {
                    try reader.read(
                        Self.message(frame, number: UInt32(tick * 100 + number)), of: link,
                        at: .milliseconds(100 * tick + 1000))
                }
            }
            guard tick > 2 else { continue }
            examined += reader.budget.examinedByteCount
            remembered += reader.budget.rememberedCount
            ticks += 1
        }
        let some = linkCount * 1400
        #expect(examined / ticks <= EchoBudget.examinedByteCountPerTick + some)
        #expect(examined / ticks >= EchoBudget.examinedByteCountPerTick / 2)
        #expect(remembered / ticks <= EchoBudget.rememberedCountPerTick + linkCount * 32)
        #expect(remembered / ticks >= 500)
    }
}

@Suite("A graph of feeds")
struct FeedGraphTests {
    @Test("knows ways of several steps, and forgets")
    func ways() {
        var graph = FeedGraph()
        let now = MonotonicTime.zero + .seconds(1)
        graph.record(1, contains: 2, now: now)
        graph.record(2, contains: 3, now: now)
        let isWay = graph.isFeed(of: 1, in: 3, now: now)
        #expect(!isWay)
        graph.record(3, contains: 1, now: now)
        #expect(graph.isFeed(of: 1, in: 3, now: now) && graph.isFeed(of: 1, in: 2, now: now))
        #expect(!graph.isFeed(of: 1, in: 2, now: now + .seconds(10)))
        graph.remove(3)
        #expect(!graph.isFeed(of: 1, in: 2, now: now))
    }
}
