import Addressing
import Collector
import RPCAP
import Testing
import Time

@Suite("The order of packets by time")
struct TimeOrderTests {
    /// An order with what it has given out, and both clocks.
    private struct Bed: ~Copyable {
        var order: TimeOrder
        var output: [(number: UInt32, lane: UInt32)] = []
        var numbers: [UInt32] { output.map(\.number) }
        /// Milliseconds since the start of both clocks.
        private(set) var time: UInt64 = 0
        /// How far this host's clock is ahead of the right time, in milliseconds.
        var clockError: Int64 = 0
        private var nextNumber: UInt32 = 1

        /// The right time at the start, in milliseconds since 1970.
        static let begin: UInt64 = 1_700_000_000_000

        init(
            _ window: Duration = .milliseconds(200), byteCountMax: Int = TimeOrder.byteCountMax
        ) throws {
            order = try TimeOrder(window: window, byteCountMax: byteCountMax)
            pass(0)
        }

        /// Lets time pass, in milliseconds.
        mutating func pass(_ milliseconds: UInt64) {
            time += milliseconds
            let clock = UInt64(Int64(Self.begin + time) + clockError)
            order.advance(
                now: MonotonicTime(nanoseconds: (time + 5) * 1_000_000), clock: clock * 1_000_000)
            while order.release({ output.append(($1.number, $2)) }) {}
        }

        /// Adds a packet with a stamp of milliseconds since the start; its number is the next.
        mutating func add(
            at milliseconds: Int64, lane: UInt32 = 0, byteCount: Int = 60
        ) {
            let stamp = UInt64(Int64(Self.begin) + milliseconds)
            add(
                seconds: UInt32(stamp / 1000), microseconds: UInt32(stamp % 1000 * 1000),
                lane: lane, byteCount: byteCount)
        }

        mutating func add(
            seconds: UInt32, microseconds: UInt32 = 0, lane: UInt32 = 0, byteCount: Int = 60
        ) {
            var header: [UInt8] = []
            for word in [seconds, microseconds, UInt32(byteCount), 1500, nextNumber] {
                header.append(bigEndian: word)
            }
            let frame = [UInt8](repeating: UInt8(truncatingIfNeeded: nextNumber), count: byteCount)
            order.add(frame.wire, PacketRecord(packetHeader: header.wire), lane: lane) {
                #expect($0.byteCount == $1.byteCount && $1.wireByteCount == 1500)
                if $0.byteCount > 0 {
                    #expect($0.uint8(at: 0) == UInt8(truncatingIfNeeded: $1.number))
                }
                output.append(($1.number, $2))
            }
            nextNumber += 1
        }

        mutating func end() { order.releaseAll { output.append(($1.number, $2)) } }

        var counts: [UInt64] { [order.counts.late, order.counts.early, order.counts.ahead] }
    }

    @Test("merges what comes within the window, and keeps the order of equal stamps")
    func merges() throws {
        var bed = try Bed()
        bed.pass(100)
        for stamp: Int64 in [50, 90, 10, 60, 60, 20, 10] { bed.add(at: stamp) }
        #expect(bed.output.isEmpty && bed.order.heldCount == 7)
        bed.end()
        #expect(bed.numbers == [3, 7, 6, 1, 4, 5, 2] && bed.counts == [0, 0, 0])
        #expect(bed.order.heldCount == 0 && bed.order.deadline == nil)
    }

    @Test("gives a packet out when another one is later by the window")
    func window() throws {
        var bed = try Bed()
        bed.pass(400)
        bed.add(at: 100)
        bed.add(at: 290)
        bed.pass(0)
        #expect(bed.numbers == [])
        bed.add(at: 310)
        bed.pass(0)
        #expect(bed.numbers == [1] && bed.counts == [0, 0, 0])
    }

    @Test("gives the last packets out when the window has passed")
    func idle() throws {
        var bed = try Bed()
        bed.pass(10)
        bed.add(at: 9)
        bed.add(at: 5)
        #expect(bed.order.deadline != nil)
        bed.pass(190)
        #expect(bed.numbers == [])
        bed.pass(20)
        #expect(bed.numbers == [2, 1] && bed.order.deadline == nil)
        // One with the same stamp is not late, and one that is later than all is not either.
        bed.pass(1000)
        bed.add(at: 9)
        bed.pass(200)
        #expect(bed.numbers == [2, 1, 3] && bed.counts == [0, 0, 0])
        // What was held up on its way is none the later for that.
        bed.pass(1000)
        for stamp: Int64 in [11, 300, 200, 900] { bed.add(at: stamp) }
        bed.end()
        #expect(bed.numbers == [2, 1, 3, 4, 6, 5, 7] && bed.counts == [0, 0, 0])
    }

    @Test("gives out at once, and counts, what comes late")
    func late() throws {
        var bed = try Bed()
        bed.pass(1000)
        bed.add(at: 500)
        bed.add(at: 900)
        bed.pass(0)
        #expect(bed.numbers == [1])
        bed.add(at: 400)
        #expect(bed.numbers == [1, 3] && bed.counts == [1, 0, 0])
        bed.add(seconds: 0)
        bed.end()
        #expect(bed.numbers == [1, 3, 4, 2] && bed.counts == [2, 0, 0])
    }

    @Test("lets no stamp ahead of the clock make others late")
    func ahead() throws {
        var bed = try Bed()
        bed.pass(1000)
        bed.add(at: 990)
        bed.add(seconds: .max, microseconds: 999_999)
        bed.add(at: 1180)
        bed.add(at: 980)
        bed.pass(0)
        #expect(bed.numbers == [] && bed.counts == [0, 0, 1])
        bed.pass(10)
        bed.add(at: 850)
        for _ in 0..<40 { bed.pass(10) }
        #expect(bed.numbers == [5, 4, 1, 3, 2] && bed.counts == [0, 0, 1])
    }

    @Test("begins anew when all clocks are put back")
    func clocksPutBack() throws {
        var bed = try Bed()
        bed.pass(10_000)
        bed.add(at: 9_990)
        bed.pass(300)
        bed.add(at: 1000)
        #expect(bed.numbers == [1, 2] && bed.counts == [1, 0, 0])
        bed.pass(200)
        // Its slot has been given out, and for two windows there was nothing later.
        bed.add(at: 1210)
        bed.add(at: 1205)
        #expect(bed.numbers == [1, 2] && bed.counts == [1, 0, 0])
        bed.end()
        #expect(bed.numbers == [1, 2, 4, 3] && bed.counts == [3, 0, 0])
        #expect(bed.order.counts.lateNanosecondsMax == 8_990_000_000)
    }

    @Test("counts each packet that goes out behind a later one, also after a silence")
    func lateAfterSilence() throws {
        var bed = try Bed()
        bed.pass(10_000)
        bed.add(at: 9_990)
        // All are given out, and nothing comes for two windows.
        bed.pass(1000)
        // In the slot of the first one, and some before it.
        for stamp: Int64 in [9_991, 9_989, 9_700] { bed.add(at: stamp) }
        bed.end()
        #expect(bed.numbers == [1, 3, 4, 2] && bed.counts == [2, 0, 0])
        #expect(bed.order.counts.lateNanosecondsMax == 290_000_000)
    }

    @Test(
        "holds nothing for longer when this host's clock is put back, or is wrong",
        arguments: [
            -3_600_000, -190, 190, 3_600_000,
        ])
    func wrongClock(error: Int64) throws {
        var bed = try Bed()
        bed.pass(1000)
        bed.add(at: 1000)
        bed.add(at: 995)
        bed.clockError = error
        bed.pass(500)
        #expect(bed.numbers == [2, 1])
        for round in 0..<100 {
            bed.pass(10)
            bed.add(at: Int64(1500 + round * 10))
            #expect(bed.order.heldCount <= 45)
        }
        bed.pass(600)
        #expect(bed.numbers == [2, 1] + Array(3...102) && bed.order.heldCount == 0)
    }

    @Test("gives out the oldest early when the memory is full")
    func full() throws {
        var bed = try Bed(byteCountMax: 1 << 20)
        bed.pass(100)
        for number in 0..<30 { bed.add(at: Int64(99 - number * 3), byteCount: 100_000) }
        bed.end()
        #expect(Set(bed.numbers) == Set(1...30) && bed.numbers.count == 30)
        #expect(bed.order.counts.early > 0)
        // What was given out early makes those before it late.
        #expect(bed.order.counts.late > 0 && bed.order.heldCount == 0)
    }

    @Test("takes frames of any length", arguments: [0, 1, 262_144, 262_145])
    func lengths(byteCount: Int) throws {
        var bed = try Bed(byteCountMax: 1)
        bed.pass(100)
        for number in 0..<20 { bed.add(at: Int64(number), byteCount: byteCount) }
        bed.end()
        #expect(bed.numbers == Array(1...20))
    }

    @Test("has each packet once, and all that may be so in order", arguments: 1...20)
    func random(round: Int) throws {
        let window = [1, 7, 200, 10_000][round % 4]
        var bed = try Bed(.milliseconds(window))
        var stamps: [Int64] = []
        for _ in 0..<3000 {
            if Int.random(in: 0..<3) == 0 { bed.pass(UInt64.random(in: 0...2)) }
            let lateness = Int64.random(in: 0..<Int64(window))
            stamps.append(Int64(bed.time) - lateness)
            bed.add(
                at: stamps[stamps.count - 1], lane: UInt32.random(in: 0..<5),
                byteCount: Int.random(in: 0..<200))
        }
        #expect((0..<5).reduce(0) { $0 + bed.order.heldCount(of: $1) } == bed.order.heldCount)
        bed.end()
        let expected = stamps.indices.sorted { (stamps[$0], $0) < (stamps[$1], $1) }
        #expect(bed.numbers == expected.map { UInt32($0 + 1) } && bed.counts == [0, 0, 0])
        #expect(bed.order.heldCount(of: 9) == 0)
    }
}
