import Addressing
import Collector
import RPCAP
import Testing
import Time

@Suite("A feed that contains itself")
struct FeedEchoTests {
    /// The packet of a data connection with this frame.
    private static func message(_ frame: [UInt8], number: UInt32) -> [UInt8] {
        var bytes: [UInt8] = [0, 7, 0, 0]
        let values = [
            20 + UInt32(frame.count), 1_700_000_000, number % 1_000_000, UInt32(frame.count),
            UInt32(frame.count), number,
        ]
        for value in values { bytes.append(bigEndian: value) }
        return bytes + frame
    }

    private static let headers = [UInt8](repeating: 0x45, count: 54)

    /// A reader of a feed as the collector reads it.
    private struct Reader: ~Copyable {
        private var echo = FeedEcho()
        private(set) var share = EchoShare()

        mutating func read(_ messages: [[UInt8]], second: Int = 1) throws {
            var stream = PacketStream(snaplen: 262_144)
            for message in messages {
                stream.append(message[...])
                _ = try stream.next { record, frame in
                    if share.wantsFrame(now: .zero + .seconds(second)) {
                        share.count(
                            byteCount: frame.byteCount, isEcho: echo.isContained(in: frame))
                    }
                    echo.remember(record)
                }
            }
        }

        func isEcho(_ frame: [UInt8]) -> Bool { echo.isContained(in: frame.wire) }
    }

    @Test("is noticed by the records in its packets, wherever they stand")
    func records() throws {
        for offset in [0, 1, 700] {
            var reader = Reader()
            let first = Self.message([1, 2, 3], number: 1)
            try reader.read([first])
            let frame = Self.headers + [UInt8](repeating: 7, count: offset) + first
            let isEcho = reader.isEcho(frame)
            // Another session's record of the same packet has another number.
            let other = Self.headers + Self.message([1, 2, 3], number: 2)
            let isOther = reader.isEcho(other)
            let isCut = reader.isEcho(frame.dropLast(7))
            #expect(isEcho && !isOther && !isCut)
        }
    }

    @Test("is a loop at once if it is fast, and after some seconds if it is slow")
    func loops() throws {
        var reader = Reader()
        var last = Self.message(Self.headers, number: 0)
        for number in 1...200 {
            last = Self.message(Self.headers + last.prefix(1400), number: UInt32(number))
            try reader.read([last])
        }
        let isLoop = reader.share.isLoop
        #expect(isLoop)
        reader = Reader()
        var second = 1
        while !reader.share.isLoop, second < 10 {
            for number in 1...10 {
                last = Self.message(
                    Self.headers + last.prefix(100), number: UInt32(100 * second + number))
                try reader.read([last], second: second)
            }
            second += 1
        }
        #expect((4...6).contains(second))
    }

    @Test("is no other load, be it the feed of another session")
    func others() throws {
        var generator = SystemRandomNumberGenerator()
        var reader = Reader()
        for second in 1...5 {
            let messages = (1...2000).map { number in
                let frame: [UInt8]
                switch number % 3 {
                case 0: frame = [UInt8](repeating: 0, count: 300)
                case 1:
                    frame = (0..<300).map { _ in .random(in: 0...255, using: &generator) }
                default:
                    frame = Self.headers + Self.message(Self.headers, number: UInt32(number + 5000))
                }
                return Self.message(frame, number: UInt32(second * 2000 + number))
            }
            try reader.read(messages, second: second)
        }
        let isLoop = reader.share.isLoop
        #expect(!isLoop)
    }

    @Test("is let be while most of it is something else")
    func minority() throws {
        var reader = Reader()
        for second in 1...6 {
            for number in 1...300 {
                let before = Self.message(Self.headers, number: UInt32(second * 1000 + number - 1))
                let frame =
                    number % 5 == 0
                    ? Self.headers + before : [UInt8](repeating: 9, count: 500)
                let last = Self.message(frame, number: UInt32(second * 1000 + number))
                try reader.read([last], second: second)
            }
        }
        let isLoop = reader.share.isLoop
        #expect(!isLoop)
    }
}
