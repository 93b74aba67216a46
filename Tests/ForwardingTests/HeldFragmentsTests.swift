import Addressing
import Forwarding
import FuzzSupport
import Observation
import ObservationFixtures
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

    private static func key(_ datagram: UInt16) -> EdgeDatagram? {
        Headers(frame(datagram, 0, byteCount: 100).wire).packet?.datagram.map {
            EdgeDatagram($0, atEdge: 1, .fromPod)
        }
    }

    /// The key of a fragment over IPv6, for which nothing but the family matters.
    private static func keyV6() -> EdgeDatagram? {
        let frame: [UInt8] =
            [UInt8](repeating: 2, count: 12) + [0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 44, 64]
            + [UInt8](repeating: 1, count: 32) + [17, 0, 0, 8] + [UInt8](repeating: 0, count: 12)
        return Headers(frame.wire).packet?.datagram.map { EdgeDatagram($0, atEdge: 1, .fromPod) }
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
        in held: inout HeldFragments, _ counters: EdgeTally = EdgeTally(),
        now: MonotonicTime = begin, as key: EdgeDatagram? = nil
    ) throws -> [Bool] {
        let key = try key ?? #require(Self.key(datagram))
        return marks.map { mark in
            let block = block(frame(datagram, mark, byteCount: byteCount))
            var packets = PacketIterator(in: block.wire, from: 48, count: 1, tellsOffload: true)
            guard let packet = packets.next() else { return false }
            return held.hold(packet.packet, of: key, at: point, counters, now: now)
        }
    }

    /// Takes fragments until there are no more, and returns their marks.
    private static func marks(
        in held: inout HeldFragments, atMost countMax: Int = .max,
        _ take: (inout HeldFragments) -> HeldFragments.Fragment?
    ) -> [UInt8] {
        var marks: [UInt8] = []
        while marks.count < countMax, let fragment = take(&held) {
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

    @Test(
        "give the oldest of their size up if there is no room, and are no longer than a jumbo frame"
    )
    func room() throws {
        let longest = HeldFragments.byteCountMax
        var held = HeldFragments(queueByteCount: 4 * longest)
        #expect(held.takeToMakeRoom(for: 100) == nil)
        #expect(try Self.hold([1, 2, 3, 4, 5, 6, 7, 8, 9], of: 7, in: &held).allSatisfy { $0 })
        #expect(try Self.hold([10], of: 7, byteCount: 2048, in: &held) == [false])
        #expect(try Self.hold([11, 12], of: 8, byteCount: 2049, in: &held) == [true, true])
        #expect(try Self.hold([13], of: 7, byteCount: longest, in: &held) == [false])
        #expect(try Self.hold([14], of: 7, byteCount: longest + 1, in: &held) == [false])
        #expect(!held.isFull(for: longest + 1))
        #expect(Self.marks(in: &held) { $0.takeToMakeRoom(for: longest + 1) } == [])
        #expect(Self.marks(in: &held) { $0.takeToMakeRoom(for: longest) } == [11])
        #expect(Self.marks(in: &held) { $0.takeToMakeRoom(for: 1) } == [1])
        #expect(try Self.hold([15], of: 7, byteCount: 2048, in: &held) == [true])
        #expect(Self.marks(in: &held) { $0.takeFirst() } == [2, 3, 4, 5, 6, 7, 8, 9, 12, 15])
    }

    @Test("have as much memory as the kernel has for fragments")
    func bounds() throws {
        var held = HeldFragments()
        var count = 0
        for byteCount in [1514, 9014] {
            while try Self.hold([1], of: 7, byteCount: byteCount, in: &held) == [true] {
                count += 1
            }
        }
        #expect(count == HeldFragments.countMax && held.count == count)
        #expect(held.byteCount <= HeldFragments.memoryByteCount)
        // With a small queue they have a small part of it.
        var few = HeldFragments(queueByteCount: 1 << 18, overhead: 28)
        while try Self.hold([1], of: 7, byteCount: 2048, in: &few) == [true] {}
        #expect(few.byteCount + few.count * 28 <= 1 << 17 && few.count > 50)
        var none = HeldFragments(queueByteCount: 0)
        #expect(try Self.hold([1], of: 7, in: &none) == [false])
        #expect(none.takeToMakeRoom(for: 100) == nil && none.takeFirst() == nil)
    }

    @Test("are given up when the kernel gives the rest of their datagram up")
    func age() throws {
        var held = HeldFragments()
        _ = try Self.hold([1], of: 7, in: &held)
        _ = try Self.hold([2], of: 0, in: &held, as: Self.keyV6())
        _ = try Self.hold([3], of: 8, in: &held, now: Self.begin + .milliseconds(500))
        let tables: [(milliseconds: Int, marks: [UInt8])] = [
            (29_999, []), (30_000, [1]), (30_499, []), (30_500, [3]), (59_999, []), (60_000, [2]),
        ]
        for row in tables {
            let now = Self.begin + .milliseconds(row.milliseconds)
            #expect(
                Self.marks(in: &held) { $0.takeExpired(now: now) } == row.marks, "\(row)")
        }
    }

    @Test("are what a plain list of them holds, whatever is done to them")
    func model() throws {
        var generator = RandomNumbers(17)
        var held = HeldFragments(queueByteCount: 8 * HeldFragments.byteCountMax)
        let edges = [EdgeTally(), EdgeTally()]
        var model: [(mark: UInt8, datagram: UInt16, isLong: Bool, edge: Int)] = []
        for step in 0..<20_000 {
            let (mark, datagram) = (UInt8(step & 255), UInt16.random(in: 0...5, using: &generator))
            let (isLong, edge) = (
                Int.random(in: 0...3, using: &generator) == 0,
                Int.random(in: 0...1, using: &generator)
            )
            var expected: [UInt8] = []
            var taken: [UInt8] = []
            switch Int.random(in: 0...9, using: &generator) {
            case 0:
                let key = try #require(Self.key(datagram))
                expected = model.filter { $0.datagram == datagram }.map(\.mark)
                model.removeAll { $0.datagram == datagram }
                taken = Self.marks(in: &held) { $0.take(of: key) }
            case 1 where step % 20 == 0:
                expected = model.filter { $0.edge == edge }.map(\.mark)
                model.removeAll { $0.edge == edge }
                taken = Self.marks(in: &held) { $0.take(countedBy: edges[edge]) }
            case 2:
                if !model.isEmpty { expected = [model.removeFirst().mark] }
                taken = Self.marks(in: &held, atMost: 1) { $0.takeFirst() }
            default:
                let byteCount = isLong ? 9000 : 100
                if held.isFull(for: byteCount),
                    let index = model.firstIndex(where: { $0.isLong == isLong })
                {
                    expected = [model.remove(at: index).mark]
                    taken = Self.marks(in: &held) { $0.takeToMakeRoom(for: byteCount) }
                }
                let isHeld = try Self.hold(
                    [mark], of: datagram, byteCount: byteCount, in: &held, edges[edge])
                #expect(isHeld == [true])
                model.append((mark, datagram, isLong, edge))
            }
            try #require(taken == expected && held.count == model.count, "step \(step)")
        }
        #expect(Self.marks(in: &held) { $0.takeFirst() } == model.map(\.mark))
        #expect(held.byteCount == 0)
    }

    @Test("go with their edge")
    func edge() throws {
        var held = HeldFragments()
        let counters = EdgeTally()
        _ = try Self.hold([1], of: 7, in: &held, counters)
        _ = try Self.hold([2], of: 7, in: &held)
        _ = try Self.hold([3], of: 8, in: &held, counters)
        #expect(Self.marks(in: &held) { $0.take(countedBy: counters) } == [1, 3])
        #expect(held.count == 1)
    }
}
