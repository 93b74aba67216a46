import Addressing
import Forwarding
import Observation
import PacketRing
import Packets
import Testing
import Time

@Suite("Fragments that wait for the first of their datagram")
struct HeldFragmentsTests {
    private static let begin = MonotonicTime(nanoseconds: 9_000_000_000)
    private static let point = ObservationPoint(
        interfaceIndex: 1, podMAC: nil, domain: ObservationPoint.Domain([]))

    /// A UDP fragment over IPv4 that is not the first of its datagram; its last byte is a mark.
    private static func frame(_ datagram: UInt16, _ mark: UInt8, byteCount: Int) -> [UInt8] {
        let ipByteCount = byteCount - 14
        var bytes: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]
        bytes += [0x45, 0, UInt8(ipByteCount >> 8), UInt8(ipByteCount & 255)]
        bytes += [UInt8(datagram >> 8), UInt8(datagram & 255), 0, 185, 64, 17, 0, 0]
        bytes += [10, 244, 0, 1, 10, 244, 0, 2]
        return bytes + [UInt8](repeating: mark, count: byteCount - bytes.count)
    }

    private static func key(_ datagram: UInt16) -> DatagramKey? {
        Headers(frame(datagram, 0, byteCount: 100).wire).packet?.datagram
    }

    /// A block as the kernel writes it, with one packet.
    private static func block(_ frame: [UInt8]) -> [UInt8] {
        var slot = [UInt8](repeating: 0, count: 82) + frame
        for (offset, value) in [(12, frame.count), (16, frame.count), (20, 1), (24, 82)] {
            slot[offset] = UInt8(value & 255)
            slot[offset + 1] = UInt8(value >> 8)
        }
        return [UInt8](repeating: 0, count: 48) + slot
    }

    private static func hold(
        _ marks: [UInt8], of datagram: UInt16, byteCount: Int = 100,
        in held: inout HeldFragments, _ counters: FrameCounters = FrameCounters(),
        now: MonotonicTime = begin
    ) throws -> [Bool] {
        let key = try #require(Self.key(datagram))
        return marks.map { mark in
            let block = block(frame(datagram, mark, byteCount: byteCount))
            var packets = PacketIterator(in: block.wire, from: 48, count: 1, tellsOffload: true)
            guard let packet = packets.next() else { return false }
            return held.hold(packet.packet, of: key, at: point, counters, now: now)
        }
    }

    /// Takes fragments until there are no more, and returns their marks.
    private static func marks(
        in held: inout HeldFragments, _ take: (inout HeldFragments) -> HeldFragments.Fragment?
    ) -> [UInt8] {
        var marks: [UInt8] = []
        while let fragment = take(&held) {
            let bytes = held.packet(fragment).bytes
            marks.append(bytes.uint8(at: bytes.byteCount - 1))
        }
        return marks
    }

    @Test("are those of one datagram, in the order in which they came")
    func order() throws {
        let key = try #require(Self.key(7))
        var held = HeldFragments()
        #expect(try Self.hold([1, 2], of: 7, in: &held) == [true, true])
        #expect(try Self.hold([3], of: 8, in: &held) == [true])
        #expect(try Self.hold([4], of: 7, in: &held) == [true])
        #expect(held.count == 4 && held.byteCount == 400)
        #expect(Self.marks(in: &held) { $0.take(of: key) } == [1, 2, 4])
        #expect(Self.marks(in: &held) { $0.takeFirst() } == [3])
        #expect(held.count == 0 && held.byteCount == 0)
    }

    @Test("are not held if there are too many, or if one is longer than a jumbo frame")
    func room() throws {
        let key = try #require(Self.key(7))
        var held = HeldFragments(countMax: 2)
        #expect(try Self.hold([1, 2, 3], of: 7, in: &held) == [true, true, false])
        #expect(held.take(of: key) != nil)
        let longest = HeldFragments.byteCountMax
        #expect(try Self.hold([4], of: 7, byteCount: longest + 1, in: &held) == [false])
        #expect(try Self.hold([5], of: 7, byteCount: longest, in: &held) == [true])
        #expect(Self.marks(in: &held) { $0.takeFirst() } == [2, 5])
    }

    @Test("are given up after a second")
    func age() throws {
        var held = HeldFragments()
        _ = try Self.hold([1], of: 7, in: &held)
        _ = try Self.hold([2], of: 8, in: &held, now: Self.begin + .milliseconds(500))
        let tables: [(milliseconds: Int, marks: [UInt8])] = [
            (999, []), (1000, [1]), (1499, []), (1500, [2]),
        ]
        for row in tables {
            let now = Self.begin + .milliseconds(row.milliseconds)
            #expect(
                Self.marks(in: &held) { $0.takeExpired(now: now) } == row.marks, "\(row)")
        }
    }

    @Test("go with their edge")
    func edge() throws {
        var held = HeldFragments()
        let counters = FrameCounters()
        _ = try Self.hold([1], of: 7, in: &held, counters)
        _ = try Self.hold([2], of: 7, in: &held)
        _ = try Self.hold([3], of: 8, in: &held, counters)
        #expect(Self.marks(in: &held) { $0.take(countedBy: counters) } == [1, 3])
        #expect(held.count == 1)
    }
}
