import Addressing
import RPCAP
import Testing

@Suite("A datagram writer")
struct DatagramWriterTests {
    /// A message as the send queue has it.
    private static func message(
        _ number: Int, frameByteCount: Int, wireByteCount: Int? = nil, seconds: UInt64 = 7
    ) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: PacketRecord.headerByteCount)
        var span = bytes.mutableSpan
        var record = unsafe span.mutableBytes
        PacketRecord.store(
            into: &record, nanoseconds: seconds * 1_000_000_000, byteCount: frameByteCount,
            wireByteCount: wireByteCount ?? frameByteCount, number: UInt32(number))
        return bytes + frame(number, frameByteCount)
    }

    private static func frame(_ number: Int, _ byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ number) }
    }

    private static func word(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        bytes.wire.uint32(at: offset)
    }

    private static func first(_ datagram: [UInt8]) -> UInt16 { datagram.wire.uint16(at: 2) }

    /// All datagrams of a stream.
    private static func datagrams(
        _ writer: inout DatagramWriter, _ stream: [UInt8], isFlushing: Bool = true
    ) -> (datagrams: [[UInt8]], consumedByteCount: Int) {
        var datagrams: [[UInt8]] = []
        var offset = 0
        while true {
            var datagram = [UInt8](repeating: 0xee, count: writer.byteCountMax)
            var span = datagram.mutableSpan
            var bytes = unsafe span.mutableBytes
            let rest = stream.wire.extracting(offset..<stream.count)
            guard let written = writer.write(rest, into: &bytes, isFlushing: isFlushing) else {
                return (datagrams, offset)
            }
            offset += written.consumedByteCount
            datagrams.append(Array(datagram.prefix(written.byteCount)))
        }
    }

    @Test("writes udpstr as the daemon that sensors know")
    func golden() {
        // Three packets of 642 bytes, as in the recorded session.
        let head = hex("6b 00 d6 7b 00 03 9c a9 00 00 02 82 00 00 02 82 00 00 00 01")
        let message = hex("00 07 00 00 00 00 02 96") + head + [UInt8](repeating: 5, count: 642)
        var writer = DatagramWriter(.udpstr)
        let (datagrams, consumed) = Self.datagrams(&writer, message + message + message + message)
        #expect(consumed == message.count * 4)
        #expect(datagrams.count == 2)
        #expect(datagrams[0].count == 1472)
        #expect(datagrams[0].starts(with: hex("00 6e 00 08 00 00 00 00") + head + [5]))
        #expect(Array(datagrams[0][1332..<1352]) == head)
        #expect(Array(datagrams[0][1352...]) == [UInt8](repeating: 5, count: 120))
        #expect(datagrams[1].starts(with: hex("00 6e 02 12 00 00 00 01") + [5]))
        #expect(Array(datagrams[1][530..<550]) == head)
        #expect(datagrams[1].count == 530 + 20 + 642)
    }

    /// Lengths of frames, and of the datagrams of 100 bytes that they become.
    static let tables: [(frames: [Int], datagrams: [Int], firsts: [UInt16])] = [
        ([72], [100], [8]),
        ([71], [99], [8]),
        ([73], [100, 9], [8, 0xffff]),
        // With 29 bytes free one more is begun, with 28 it is not.
        ([43, 20], [100, 19], [8, 0xffff]),
        ([44, 20], [72, 48], [8, 8]),
        ([300], [100, 100, 100, 52], [8, 0xffff, 0xffff, 0xffff]),
        ([73, 5], [100, 34], [8, 9]),
    ]

    @Test("splits frames and no headers", arguments: 0..<tables.count)
    func splits(row: Int) {
        let (frames, lengths, firsts) = Self.tables[row]
        var writer = DatagramWriter(.udpstr, byteCountMax: 100)
        let stream = frames.enumerated().flatMap { Self.message($0, frameByteCount: $1) }
        let datagrams = Self.datagrams(&writer, stream).datagrams
        #expect(datagrams.map { Self.first($0) } == firsts)
        #expect(datagrams.map(\.count) == lengths)
        #expect(datagrams.map { Self.word($0, at: 4) } == datagrams.indices.map { UInt32($0) })
    }

    @Test("waits for a full datagram until it is to flush")
    func waits() {
        var writer = DatagramWriter(.udpstr, byteCountMax: 100)
        let stream = Self.message(1, frameByteCount: 30)
        #expect(Self.datagrams(&writer, stream, isFlushing: false).consumedByteCount == 0)
        let both = stream + Self.message(2, frameByteCount: 80)
        let (full, consumed) = Self.datagrams(&writer, both, isFlushing: false)
        #expect(full.map(\.count) == [100])
        let (rest, _) = Self.datagrams(&writer, Array(both[consumed...]))
        #expect(rest.map(\.count) == [8 + 80 - (100 - 8 - 50 - 20)])
        #expect(Self.word(rest[0], at: 4) == 1)
        #expect(Self.datagrams(&writer, []).datagrams.isEmpty)
    }

    @Test("sends one PACKET message a datagram, and cuts what does not fit")
    func packets() {
        var writer = DatagramWriter(.packet)
        writer.limit(to: 1472)
        let sizes = [0, 60, 65_479, 65_480, 262_144]
        let messages = sizes.map { Self.message($0, frameByteCount: $0) }
        let (datagrams, _) = Self.datagrams(
            &writer, messages.flatMap { $0 }, isFlushing: false)
        #expect(datagrams.map(\.count) == [28, 88, 65_507, 65_507, 65_507])
        #expect(Array(datagrams[..<3]) == Array(messages[..<3]))
        for (datagram, size) in zip(datagrams, sizes) {
            #expect(Self.word(datagram, at: 4) == UInt32(datagram.count - 8))
            #expect(Self.word(datagram, at: 16) == UInt32(min(size, 65_479)))
            #expect(Self.word(datagram, at: 20) == UInt32(size))
            #expect(Array(datagram[28...]) == Array(Self.frame(size, size).prefix(65_479)))
        }
    }

    @Test("keeps its limit in the bounds of IP")
    func limits() {
        var writer = DatagramWriter(.udpstr, byteCountMax: 1 << 20)
        #expect(writer.byteCountMax == 65_507)
        writer.limit(to: 0)
        #expect(writer.byteCountMax == 40)
    }

    /// A receiver as one would write it from the description alone.
    private struct Receiver {
        private(set) var packets: [UInt32: [UInt8]] = [:]
        private var next: UInt32?
        private var partial: [UInt8]?

        mutating func receive(_ datagram: [UInt8]) {
            let head = datagram.wire
            let first = Int(head.uint16(at: 2))
            let sequence = head.uint32(at: 4)
            if sequence != next { partial = nil }
            next = sequence &+ 1
            let begin = first == 0xffff ? datagram.count : first
            if let begun = partial {
                partial = begun + datagram[8..<begin]
                finish()
            }
            // Whatever was pending is complete where another one begins.
            if first != 0xffff { #expect(partial == nil) }
            var offset = begin
            while offset < datagram.count {
                #expect(datagram.count - offset >= 20, "a header is split")
                let end = min(datagram.count, offset + 20 + Int(head.uint32(at: offset + 8)))
                partial = Array(datagram[offset..<end])
                offset = end
                finish()
            }
        }

        private mutating func finish() {
            guard let begun = partial else { return }
            let bytes = begun.wire
            guard begun.count == 20 + Int(bytes.uint32(at: 8)) else { return }
            packets[bytes.uint32(at: 16)] = Array(begun[20...])
            partial = nil
        }
    }

    @Test("is understood, and a lost datagram costs what it carries", arguments: 1...20)
    func property(seed: UInt64) {
        var random = Generator(state: seed)
        var writer = DatagramWriter(
            .udpstr, byteCountMax: Int.random(in: 40...3000, using: &random))
        var sent: [UInt32: [UInt8]] = [:]
        var stream: [UInt8] = []
        /// With the stream's bytes that each is made of.
        var datagrams: [(bytes: [UInt8], range: Range<Int>)] = []
        var ranges: [UInt32: Range<Int>] = [:]
        var offset = 0
        for number in 1...300 {
            let byteCount = Int.random(in: 0...(number % 10 == 0 ? 9000 : 200), using: &random)
            sent[UInt32(number)] = Self.frame(number, byteCount)
            let begin = stream.count
            stream += Self.message(number, frameByteCount: byteCount)
            ranges[UInt32(number)] = begin + 8..<stream.count
            if number % 7 == 0 { writer.limit(to: Int.random(in: 40...3000, using: &random)) }
            let limit = writer.byteCountMax
            let isFlushing = number == 300 || Bool.random(using: &random)
            while offset < stream.count {
                var datagram = [UInt8](repeating: 0xee, count: limit)
                var span = datagram.mutableSpan
                var bytes = unsafe span.mutableBytes
                guard
                    let written = writer.write(
                        stream.wire.extracting(offset..<stream.count), into: &bytes,
                        isFlushing: isFlushing)
                else { break }
                #expect(written.byteCount <= limit)
                let end = offset + written.consumedByteCount
                datagrams.append((Array(datagram.prefix(written.byteCount)), offset..<end))
                offset = end
            }
        }
        #expect(offset == stream.count)
        var receiver = Receiver()
        for datagram in datagrams { receiver.receive(datagram.bytes) }
        #expect(receiver.packets == sent)

        for _ in 0..<20 {
            let lost = Int.random(in: datagrams.indices, using: &random)
            var receiver = Receiver()
            for (index, datagram) in datagrams.enumerated() where index != lost {
                receiver.receive(datagram.bytes)
            }
            let spared = sent.filter { !ranges[$0.key]!.overlaps(datagrams[lost].range) }
            #expect(receiver.packets == spared)
        }
    }

    /// The same numbers in each run (SplitMix64).
    private struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
            return mixed ^ (mixed >> 31)
        }
    }
}
