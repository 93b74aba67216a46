import Forwarding
import PacketRing
import Testing
import Time

@Suite("The replacement of a ring")
struct RingReplacementTests {
    private static let begin = MonotonicTime(nanoseconds: 7_000_000_000)

    /// What happens to the two rings.
    private enum Event {
        /// Packets come out of the old ring, by their identities.
        case old([UInt64?])
        /// The old ring has no room for packets.
        case dropped(Int)
        /// All further packets are in the new ring; this is how many the kernel has put into the old one.
        case end(Int)
        /// The new ring takes over, with a number of packets in it.
        case takeOver(Int)
        /// Packets come out of the new ring.
        case new([UInt64?])
    }

    private struct Run {
        var forwarded: [UInt64?] = []
        /// The packets that are to be counted, as the forwarder takes them.
        var firstReadCount = 0
        var readCount: Int
        let replacement: RingReplacement

        /// Runs through events, after the old ring has been given and read a number of packets.
        init(startCount: Int, readCount: Int, setCount: Int = 100, _ events: [Event]) {
            replacement = RingReplacement(PacketSet(countMax: setCount), startCount: startCount)
            self.readCount = readCount
            for event in events { handle(event) }
        }

        private mutating func handle(_ event: Event) {
            switch event {
            case .old(let packets):
                for packet in packets {
                    readCount += 1
                    replacement.record(packet, at: readCount)
                    if !replacement.consume(packet) { forwarded.append(packet) }
                }
            case .dropped(let count): replacement.recordDropped(count)
            case .end(let count):
                replacement.end(at: count, latest: RingReplacementTests.begin + .milliseconds(42))
            case .takeOver(let count): replacement.beginDeduplication(of: count)
            case .new(let packets):
                for packet in packets where !replacement.consume(packet) {
                    forwarded.append(packet)
                }
            }
            firstReadCount += replacement.takeFirstReadCount()
        }
    }

    @Test("forwards each packet once, whichever ring it comes from")
    func once() {
        // Packets 1 and 2 were in the old ring before the new one began.
        let run = Run(
            startCount: 2, readCount: 0,
            [
                .old([11, 12, 13, 14]), .end(5), .old([15]), .takeOver(4), .new([13, 14, 15, 16]),
                .new([17, 13]),
            ])
        #expect(run.forwarded == [11, 12, 13, 14, 15, 16, 17, 13])
        #expect(run.replacement.isSound && !run.replacement.mayHaveDuplicates)
        // What came before the new ring began, and after it was read out, the kernel counts.
        #expect(run.firstReadCount == 4)
    }

    @Test("forwards a packet as often as it passed, if several look the same")
    func twins() {
        let run = Run(
            startCount: 0, readCount: 0,
            [.old([5, 5]), .end(2), .takeOver(3), .new([5, 5, 5])])
        #expect(run.forwarded == [5, 5, 5])
        #expect(run.firstReadCount == 3)
    }

    @Test("takes what the old ring had no room for from the new one")
    func dropped() {
        let run = Run(
            startCount: 0, readCount: 0,
            [.old([1]), .dropped(2), .end(1), .takeOver(4), .new([1, 2, 3, 4])])
        #expect(run.forwarded == [1, 2, 3, 4])
        #expect(run.firstReadCount == 4)
    }

    @Test("is not sound if packets cannot be told apart")
    func sound() {
        let tables:
            [(name: String, startCount: Int, setCount: Int, old: [UInt64?], isSound: Bool)] =
                [
                    ("all have identities", 0, 9, [1, 2], true),
                    ("one of both rings has none", 0, 9, [1, nil], false),
                    ("only one of the old ring has none", 2, 9, [1, nil, 3], true),
                    ("the set is full", 0, 1, [1, 2], false),
                ]
        for row in tables {
            let run = Run(
                startCount: row.startCount, readCount: 0, setCount: row.setCount, [.old(row.old)])
            #expect(run.replacement.isSound == row.isSound, "\(row.name)")
        }
    }

    @Test("reads the old ring as far as the kernel had filled it, or for 42 ms")
    func complete() {
        let replacement = RingReplacement(PacketSet(countMax: 9), startCount: 5)
        #expect(!replacement.hasEnd)
        #expect(!replacement.isComplete(readCount: 1000, now: .distantFuture))
        replacement.end(at: 9, latest: Self.begin + .milliseconds(42))
        #expect(replacement.hasEnd)
        #expect(!replacement.isComplete(readCount: 8, now: Self.begin + .milliseconds(41)))
        #expect(replacement.isComplete(readCount: 9, now: Self.begin))
        #expect(replacement.isComplete(readCount: 8, now: Self.begin + .milliseconds(42)))
    }

    @Test("when cancelled, leaves what nobody has counted to be counted")
    func cancelled() {
        let tables: [(name: String, readCount: Int, putCount: Int, received: UInt32)] = [
            ("read to the end", 14, 14, 3),
            ("four are still in the ring", 10, 14, 7),
            ("not read as far as where the new ring began", 2, 14, 12),
        ]
        for row in tables {
            let run = Run(startCount: 5, readCount: row.readCount, [.dropped(3)])
            let rest = run.replacement.remainder(
                readCount: row.readCount, putCount: row.putCount)
            #expect(rest == Ring.Statistics(received: row.received, dropped: 3), "\(row.name)")
        }
    }

    @Test("of a ring at the other end leaves out duplicates that come late, each once")
    func lag() {
        let replacement = RingReplacement(
            PacketSet(countMax: 10), startCount: 0, isBetweenEnds: true)
        for (index, identity) in [7, 8, 7, 9].enumerated() {
            replacement.record(UInt64(identity), at: index + 1)
        }
        #expect(replacement.takeFirstReadCount() == 4 && !replacement.isLagging)
        replacement.beginLag(now: Self.begin)
        #expect(replacement.isLagging && replacement.mayHaveDuplicates)
        // A packet that was sent three times, of which the old ring has had two.
        #expect([7, 5, 7, 7].map { replacement.consume($0) } == [true, false, true, false])
        #expect(replacement.takeFirstReadCount() == 2)
        #expect(!replacement.isLagOver(now: Self.begin + .milliseconds(49)))
        #expect(replacement.isLagOver(now: Self.begin + RingReplacement.lagTime))
        replacement.endLag(unreadCount: 2)
        #expect(replacement.consume(8) && !replacement.isLagging)
        #expect(!replacement.consume(5) && !replacement.mayHaveDuplicates)
        // What never came is forgotten.
        #expect(!replacement.consume(9))
    }
}
