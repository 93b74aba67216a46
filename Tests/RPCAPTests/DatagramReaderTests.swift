import Addressing
import FuzzSupport
import RPCAP
import Testing

@Suite("A reader of datagrams")
struct DatagramReaderTests {
    private typealias Seen = (number: UInt32, frame: [UInt8])

    /// What the reader makes of datagrams, one after the other.
    private static func read(
        _ datagrams: [[UInt8]], snaplen: Int = 2000
    ) -> (seen: [Seen], counts: DatagramReader.Counts) {
        var reader = DatagramReader(snaplen: snaplen)
        var seen: [Seen] = []
        for datagram in datagrams {
            reader.read(datagram.wire) { seen.append(($0.number, $1.array)) }
        }
        return (seen, reader.counts)
    }

    /// A record of a stream: the packet header, and the frame.
    private static func record(_ frame: [UInt8], number: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        for value in [0x6b00_d67b, 0x0003_9ca9, UInt32(frame.count), UInt32(frame.count), number] {
            bytes.append(bigEndian: value)
        }
        return bytes + frame
    }

    private static func plain(_ frame: [UInt8], number: UInt32) -> [UInt8] {
        let record = record(frame, number: number)
        return Message.request(.packet, record)
    }

    /// Cuts packets into datagrams as ExtraHop's daemon does: none begins where fewer than 28 bytes
    /// are free.
    private static func stream(_ frames: [[UInt8]], byteCountMax: Int) -> [[UInt8]] {
        var datagrams: [[UInt8]] = []
        var (body, first): ([UInt8], Int?) = ([], nil)
        func flush() {
            guard !body.isEmpty else { return }
            var bytes: [UInt8] = [0, 110]
            bytes.append(bigEndian: UInt16(first ?? 0xffff))
            bytes.append(bigEndian: UInt32(datagrams.count))
            datagrams.append(bytes + body)
            (body, first) = ([], nil)
        }
        for (index, frame) in frames.enumerated() {
            if byteCountMax - 8 - body.count <= 28 { flush() }
            first = first ?? body.count + 8
            var rest = record(frame, number: UInt32(index + 1))[...]
            while !rest.isEmpty {
                if body.count + 8 == byteCountMax { flush() }
                let part = rest.prefix(byteCountMax - 8 - body.count)
                body += part
                rest = rest.dropFirst(part.count)
            }
        }
        flush()
        return datagrams
    }

    private static func frames(
        _ count: Int, byteCountMax: Int, _ generator: inout RandomNumbers
    ) -> [[UInt8]] {
        (0..<count).map { _ in
            (0..<Int.random(in: 0...byteCountMax, using: &generator)).map { _ in
                .random(in: 0...255, using: &generator)
            }
        }
    }

    @Test("takes a stream as ExtraHop's daemon sends it")
    func golden() {
        // The two datagrams were seen: three packets of 642 bytes, the third in both.
        let frame = (0..<642).map { UInt8(truncatingIfNeeded: $0) }
        let header = hex("6b 00 d6 7b 00 03 9c a9 00 00 02 82 00 00 02 82")
        let one =
            hex("00 6e 00 08 00 00 00 00") + header + [0, 0, 0, 1] + frame + header + [0, 0, 0, 2]
            + frame + header + [0, 0, 0, 3] + frame[..<120]
        #expect(one.count == 1472)
        let two =
            hex("00 6e 02 12 00 00 00 01") + frame[120...] + header + [0, 0, 0, 4] + frame
        let (seen, counts) = Self.read([one, two])
        #expect(seen.map(\.number) == [1, 2, 3, 4] && seen.allSatisfy { $0.frame == frame })
        #expect(counts.lostPackets == 0 && counts.lostDatagrams == 0 && counts.notUnderstood == 0)
        #expect(Self.stream([frame, frame, frame, frame], byteCountMax: 1472) == [one, two])
    }

    @Test("takes a packet as libpcap's server sends it, and what is behind it for nothing")
    func plain() {
        let golden = hex(
            "00 07 00 00 00 00 00 18 6b 00 d4 5f 00 08 c8 7d 00 00 00 04 00 00 00 31 00 00 00 01 de ad be ef"
        )
        let (seen, counts) = Self.read([golden, Self.plain([1], number: 2) + [9, 9]])
        #expect(seen.map(\.frame) == [hex("de ad be ef"), [1]])
        #expect(counts.datagrams == 2 && counts.lostPackets == 0 && counts.notUnderstood == 0)
    }

    static let rows: [(name: String, datagram: String)] = [
        ("nothing", ""), ("seven bytes", "00 07 00 00 00 00 00"),
        ("a header alone", "00 07 00 00 00 00 00 14"),
        ("another version", "01 07 00 00 00 00 00 14" + zeros(20)),
        ("an error", "00 01 00 09 00 00 00 00"),
        ("19 bytes", "00 07 00 00 00 00 00 13" + zeros(19)),
        ("a length past its end", "00 07 00 00 00 00 00 15" + zeros(20)),
        ("4 GiB", "00 07 00 00 ff ff ff ff" + zeros(20)),
        (
            "a frame past the message",
            "00 07 00 00 00 00 00 14" + zeros(8) + "00 00 00 01" + zeros(8) + "00"
        ),
        (
            "a frame longer than asked for",
            "00 07 00 00 00 00 00 79" + zeros(8) + "00 00 00 65" + zeros(8) + zeros(101)
        ),
        ("a million microseconds", "00 07 00 00 00 00 00 14 00 00 00 00 00 0f 42 40" + zeros(12)),
        ("first before its header", "00 6e 00 07 00 00 00 00" + zeros(20)),
        ("first past its end", "00 6e 00 1d 00 00 00 00" + zeros(20)),
        (
            "a record longer than asked for",
            "00 6e 00 08 00 00 00 00" + zeros(8) + "00 00 00 65" + zeros(8)
        ),
        ("a record of 4 GiB", "00 6e 00 08 00 00 00 00" + zeros(8) + "ff ff ff ff" + zeros(8)),
    ]

    private static func zeros(_ count: Int) -> String { String(repeating: " 00", count: count) }

    @Test("counts what it cannot understand, and takes what comes next", arguments: 0..<rows.count)
    func malformed(row: Int) {
        let bytes = hex(Self.rows[row].datagram)
        let (seen, counts) = Self.read([bytes, Self.plain([7], number: 1)], snaplen: 100)
        #expect(seen.map(\.frame) == [[7]], "\(Self.rows[row].name)")
        #expect(counts.notUnderstood == 1 && counts.datagrams == 2, "\(Self.rows[row].name)")
    }

    @Test("counts packets whose numbers never come, and forgives those that come late")
    func gaps() {
        func counts(_ numbers: [UInt32]) -> UInt64 {
            Self.read(numbers.map { Self.plain([1], number: $0) }).counts.lostPackets
        }
        #expect(counts([1, 2, 3]) == 0)
        #expect(counts([3]) == 2)
        #expect(counts([1, 5]) == 3)
        #expect(counts([1, 3, 2, 4]) == 0)
        #expect(counts([0, 0, 0]) == 0)
        // A sender that begins anew.
        #expect(counts([1, 5001, 1, 2]) == 4999)
    }

    @Test("counts modulo 2^32")
    func wraps() {
        let first = Self.plain([1], number: 0x7fff_ffff)
        let numbers: [UInt32] = [0xffff_fffe, 0xffff_ffff, 1]
        let (_, counts) = Self.read([first] + numbers.map { Self.plain([1], number: $0) })
        // Packet 0 has a number that says nothing, and is missing.
        #expect(counts.lostPackets == UInt64(0x7fff_fffe) + 0x7fff_fffe + 1)
    }

    @Test("drops what a lost datagram has touched, and goes on with the next packet")
    func loss() {
        let frame = [UInt8](repeating: 5, count: 300)
        let datagrams = Self.stream([frame, frame, frame, frame, frame], byteCountMax: 200)
        #expect(datagrams.count > 6)
        let (seen, counts) = Self.read(datagrams.enumerated().filter { $0.0 != 2 }.map(\.1))
        #expect(seen.map(\.number) == [1, 3, 4, 5])
        #expect(counts.lostDatagrams == 1 && counts.lostPackets == 1 && counts.notUnderstood == 0)
    }

    @Test("takes the whole packets of datagrams that come late, once")
    func late() {
        // Each datagram has a whole packet; in pairs they come the other way round.
        let frames = (0..<300).map { [UInt8](repeating: UInt8($0 % 250), count: 150) }
        let datagrams = Self.stream(frames, byteCountMax: 206)
        #expect(datagrams.count == 300)
        var swapped: [[UInt8]] = []
        for index in stride(from: 0, to: 300, by: 2) {
            swapped += [datagrams[index + 1], datagrams[index], datagrams[index]]
        }
        let (seen, counts) = Self.read(swapped)
        #expect(seen.count == 300 && counts.lostPackets == 0 && counts.lostDatagrams == 0)
        // Far behind, but not too far: packets have numbers of their own.
        var order = Array(datagrams[1...])
        order.append(datagrams[0])
        #expect(Self.read(order).seen.count == 300)
        // What a late one shares with its neighbours is gone; what its successor began is not.
        let frame = [UInt8](repeating: 5, count: 300)
        let parts = Self.stream([frame, frame, frame, frame, frame], byteCountMax: 700)
        #expect(parts.count == 3)
        let (few, lost) = Self.read([parts[1], parts[0], parts[2]])
        #expect(few.map(\.number) == [4, 1, 2, 5] && lost.lostPackets == 1)
    }

    @Test("understands a header that is split, too")
    func splitHeader() {
        let record = Self.record([1, 2, 3], number: 1)
        let one = hex("00 6e 00 08 00 00 00 00") + record[..<7]
        let two = hex("00 6e ff ff 00 00 00 01") + record[7..<21]
        let three = hex("00 6e 00 0a 00 00 00 02") + record[21...] + Self.record([4], number: 2)
        let (seen, counts) = Self.read([one, two, three])
        #expect(seen.map(\.frame) == [[1, 2, 3], [4]] && counts.notUnderstood == 0)
    }

    @Test(
        "gives packets whole and once, whatever is lost, doubled or late", arguments: Fuzz.seeds
    )
    func property(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            let frames = Self.frames(60, byteCountMax: 700, &generator)
            let size = Int.random(in: 60...1472, using: &generator)
            let whole = Self.stream(frames, byteCountMax: size)
            #expect(Self.read(whole).seen.map(\.frame) == frames, "seed \(seed)")
            var sent: [[UInt8]] = []
            for datagram in whole {
                switch Int.random(in: 0..<12, using: &generator) {
                case 0: break
                case 1: sent += [datagram, datagram]
                case 2: sent.insert(datagram, at: max(0, sent.count - 2))
                default: sent.append(datagram)
                }
            }
            let (seen, counts) = Self.read(sent)
            #expect(seen.allSatisfy { frames[Int($0.number) - 1] == $0.frame }, "seed \(seed)")
            #expect(Set(seen.map(\.number)).count == seen.count, "seed \(seed)")
            // All that is missing before the last one that came is counted.
            let missing = UInt64(seen.map(\.number).max() ?? 0) - UInt64(seen.count)
            #expect(counts.lostPackets == missing && counts.notUnderstood == 0, "seed \(seed)")
        }
    }

    @Test("survives any datagrams", arguments: Fuzz.seeds)
    func garbage(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            var reader = DatagramReader(snaplen: 300)
            let frames = Self.frames(20, byteCountMax: 300, &generator)
            for datagram in Self.stream(frames, byteCountMax: 120) + [Self.plain([1], number: 3)] {
                var datagram = datagram
                for _ in 0..<Int.random(in: 0...2, using: &generator) {
                    datagram[Int.random(in: datagram.indices, using: &generator)] =
                        [0, 1, 8, 110, 255].randomElement(using: &generator) ?? 0
                }
                let byteCount = Int.random(in: 0...datagram.count, using: &generator)
                datagram =
                    Bool.random(using: &generator) ? datagram : Array(datagram.prefix(byteCount))
                reader.read(datagram.wire) { record, frame in
                    #expect(
                        frame.byteCount <= 300 && record.byteCount == frame.byteCount,
                        "seed \(seed)")
                }
            }
            #expect(reader.counts.datagrams > 0)
        }
    }
}
