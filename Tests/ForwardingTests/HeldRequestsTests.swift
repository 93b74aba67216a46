import Addressing
import Forwarding
import FuzzSupport
import Observation
import ObservationFixtures
import PacketRing
import Testing
import Time

/// The copies of frames; `RequestTableTests` have the decisions about them.
@Suite("Requests that are held")
struct HeldRequestsTests {
    private static let begin = MonotonicTime(nanoseconds: 9_000_000_000)

    private static func key(_ number: Int) -> RequestKey {
        RequestKey(
            FlowKey(
                transport: 1, source: IPAddress(ipv4: 0x0af4_0002),
                destination: IPAddress(ipv4: 0x0af4_0001), sourcePort: UInt16(number >> 16),
                destinationPort: UInt16(number >> 16)),
            sequence: UInt16(truncatingIfNeeded: number))
    }

    /// A frame whose bytes tell it from all others.
    private static func frame(_ number: Int, byteCount: Int) -> [UInt8] {
        (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ number &* 7 &+ number >> 8) }
    }

    /// A block as the kernel writes it, with one packet, seen `nanoseconds` after a second.
    private static func block(_ frame: [UInt8], nanoseconds: Int) -> [UInt8] {
        var slot = [UInt8](repeating: 0, count: 82) + frame
        let fields = [(4, 1000), (8, nanoseconds), (12, frame.count), (16, frame.count), (20, 1)]
        for (offset, value) in fields {
            for byte in 0..<4 { slot[offset + byte] = UInt8(value >> (8 * byte) & 255) }
        }
        slot[24] = 82
        return [UInt8](repeating: 0, count: 48) + slot
    }

    private static func hold(
        _ number: Int, byteCount: Int, at edge: RequestEdge = .sender,
        in held: inout HeldRequests, _ counters: EdgeTally = EdgeTally(),
        now: MonotonicTime = begin
    ) -> RequestTable.Holding? {
        let block = block(frame(number, byteCount: byteCount), nanoseconds: number)
        var packets = PacketIterator(in: block.wire, from: 48, count: 1, tellsOffload: true)
        guard let packet = packets.next(), HeldRequests.canHold(packet.packet) else { return nil }
        return held.hold(
            packet.packet, key(number), at: edge, isOtherEdgeHere: false, isPassedOn: false,
            HeldRequests.Form(translation: nil, unknownCall: key(number).flow), counters, now: now)
    }

    private static func holdReset(
        _ number: Int, byteCount: Int, in held: inout HeldRequests
    ) -> RequestTable.Holding? {
        let block = block(frame(number, byteCount: byteCount), nanoseconds: number)
        var packets = PacketIterator(in: block.wire, from: 48, count: 1, tellsOffload: true)
        guard let packet = packets.next() else { return nil }
        return held.holdReset(packet.packet, key(number), nil, EdgeTally(), now: begin)
    }

    /// Releases one frame, and compares it with what was held under its number.
    private static func release(
        _ number: Int, byteCount: Int, from held: inout HeldRequests,
        _ next: (inout RequestTable) -> RequestTable.Release?
    ) -> Bool {
        guard let released = held.release(next) else { return false }
        let packet = held.packet(released)
        var bytes: [UInt8] = []
        bytes.append(contentsOf: packet.bytes)
        return bytes == frame(number, byteCount: byteCount)
            && packet.details.nanosecondsSince1970 == 1_000_000_000_000 + UInt64(number)
            && packet.details.wireByteCount == byteCount
    }

    @Test(
        "come back as they were, whatever their length",
        arguments: [1, 60, 127, 128, 129, 1514, 2048])
    func bytes(byteCount: Int) {
        var held = HeldRequests()
        let counters = EdgeTally()
        for number in 0..<5 {
            let holding = Self.hold(number, byteCount: byteCount, in: &held, counters)
            #expect(holding == .held(slot: number))
            #expect(held.isCounted(number, by: counters))
        }
        #expect(held.count == 5 && held.slots == 0..<5)
        for number in [3, 0, 4] {
            #expect(
                Self.release(number, byteCount: byteCount, from: &held) {
                    $0.release(
                        answered: Self.key(number), at: .sender, isReset: false, seenAt: 0,
                        now: Self.begin)
                })
            #expect(!held.isCounted(number, by: counters))
        }
        for number in [1, 2] {
            #expect(
                Self.release(number, byteCount: byteCount, from: &held) {
                    $0.takeExpired(now: Self.begin + .milliseconds(600))
                })
        }
        #expect(held.count == 0)
        let nothing = held.release { $0.takeFirst() }
        #expect(nothing == nil)
    }

    @Test("keep what belongs to them")
    func record() throws {
        var held = HeldRequests()
        let (counters, others) = (EdgeTally(), EdgeTally())
        _ = Self.hold(0, byteCount: 60, in: &held, counters)
        _ = Self.hold(1, byteCount: 60, in: &held, others)
        let released = try #require(held.release { $0.takeFirst() })
        #expect(released.fate == .unanswered)
        #expect(released.counters === counters)
        #expect(released.form?.unknownCall == Self.key(0).flow)
        #expect(held.isCounted(1, by: others) && !held.isCounted(1, by: counters))
    }

    @Test("are short of 2 KiB each; longer ones are not held")
    func tooLong() {
        var held = HeldRequests()
        #expect(Self.hold(0, byteCount: HeldRequests.byteCountMax + 1, in: &held) == nil)
        #expect(Self.hold(0, byteCount: HeldRequests.byteCountMax, in: &held) == .held(slot: 0))
    }

    @Test("are resets with data as well, unless these are longer", arguments: [1, 2, 200])
    func longReset(_ cellCount: Int) {
        var held = HeldRequests()
        let most = HeldRequests.byteCountMax
        // Behind the last cell there is nothing, and behind another one a frame that waits.
        for number in 0..<cellCount {
            #expect(Self.hold(number, byteCount: most, in: &held) == .held(slot: number))
        }
        #expect(Self.release(0, byteCount: most, from: &held) { $0.take(0) })
        #expect(Self.holdReset(cellCount, byteCount: most + 1, in: &held) == .full)
        #expect(Self.holdReset(cellCount, byteCount: 65_550, in: &held) == .full)
        for number in 1..<cellCount {
            #expect(Self.release(number, byteCount: most, from: &held) { $0.takeFirst() })
        }
    }

    @Test("are at most 1,024 long ones, beside which short ones find room")
    func longCells() {
        var held = HeldRequests()
        let most = HeldRequests.longCellCountMax
        for number in 0..<most {
            #expect(Self.hold(number, byteCount: 129, in: &held) == .held(slot: number))
        }
        #expect(Self.hold(most, byteCount: 129, in: &held) == .full)
        #expect(Self.holdReset(most, byteCount: 129, in: &held) == .full)
        #expect(Self.hold(most, byteCount: 128, in: &held) == .held(slot: most))
        #expect(held.count == most + 1)
        // A cell that is free again is used again, by a frame of another length.
        #expect(
            Self.release(7, byteCount: 129, from: &held) { $0.take(7) })
        #expect(Self.hold(most + 1, byteCount: 1000, in: &held) == .held(slot: 7))
        #expect(Self.hold(most + 2, byteCount: 129, in: &held) == .full)
        #expect(Self.release(most + 1, byteCount: 1000, from: &held) { $0.take(7) })
        for number in 0..<most where number != 7 {
            #expect(Self.release(number, byteCount: 129, from: &held) { $0.takeFirst() })
        }
        #expect(Self.release(most, byteCount: 128, from: &held) { $0.takeFirst() })
    }

    @Test("come back as they were, in any order, with slots that are used again and again")
    func random() {
        var generator = RandomNumbers(31)
        var held = HeldRequests()
        var waiting: [(number: Int, slot: Int, byteCount: Int)] = []
        var faultCount = 0
        for number in 0..<20_000 {
            if waiting.count < 300, Bool.random(using: &generator) || waiting.isEmpty {
                let byteCount =
                    [60, 74, 94, 118, 128, 129, 500, 2048]
                    .randomElement(using: &generator) ?? 60
                guard
                    case .held(let slot) = Self.hold(number, byteCount: byteCount, in: &held)
                else {
                    faultCount += 1
                    continue
                }
                waiting.append((number, slot, byteCount))
            } else {
                let index = Int.random(in: 0..<waiting.count, using: &generator)
                let item = waiting.remove(at: index)
                let isSame = Self.release(item.number, byteCount: item.byteCount, from: &held) {
                    $0.take(item.slot)
                }
                if !isSame { faultCount += 1 }
            }
        }
        #expect(faultCount == 0 && held.count == waiting.count)
        #expect(held.slots.count <= 300)
    }
}
