import Forwarding
import Testing
import Time

@Suite("The pauses between turns")
struct TurnPacerTests {
    private static let ring = 1 << 20
    private static let start = MonotonicTime(nanoseconds: 50_000_000_000)
    private static let long = MonotonicTime.zero

    /// Ends a turn that has read blocks of some sizes from as many rings, none of which was read lately.
    private func endTurn(
        _ pacer: inout TurnPacer, blocks: [Int], edgeCount: Int = 250, ring: Int = Self.ring,
        lastReadAt: MonotonicTime = Self.long, now: MonotonicTime = Self.start
    ) -> Bool {
        for byteCount in blocks {
            pacer.recordBlock(
                byteCount: byteCount, ofRing: ring, lastReadAt: lastReadAt, now: now)
        }
        return pacer.endTurn(edgeCount: edgeCount, now: now)
    }

    @Test("come after turns in which little was read")
    func little() {
        var pacer = TurnPacer()
        #expect(endTurn(&pacer, blocks: [400]))
        #expect(endTurn(&pacer, blocks: Array(repeating: 2000, count: 64)))
        #expect(endTurn(&pacer, blocks: Array(repeating: 60_000, count: 4)))
    }

    @Test("do not come where nothing or much was read, or where there are few edges")
    func other() {
        var pacer = TurnPacer()
        #expect(!endTurn(&pacer, blocks: []))
        #expect(!endTurn(&pacer, blocks: Array(repeating: 60_000, count: 5)))
        #expect(!endTurn(&pacer, blocks: [400], edgeCount: TurnPacer.edgeCountMin - 1))
        #expect(endTurn(&pacer, blocks: [400], edgeCount: TurnPacer.edgeCountMin))
    }

    @Test("do not come for a moment after a small ring's first large block")
    func burst() {
        var pacer = TurnPacer()
        #expect(!endTurn(&pacer, blocks: [400, 131_000]))
        #expect(!endTurn(&pacer, blocks: [400], now: Self.start + .milliseconds(4)))
        #expect(endTurn(&pacer, blocks: [400], now: Self.start + .milliseconds(5)))
        // A large ring holds what comes in a pause.
        #expect(!endTurn(&pacer, blocks: [131_000], ring: 16 << 20))
        #expect(endTurn(&pacer, blocks: [400], now: Self.start + .milliseconds(5)))
    }

    @Test("do not come until a ring that fills fast has had time to grow")
    func fast() {
        var pacer = TurnPacer()
        let before = Self.start - .milliseconds(5)
        #expect(!endTurn(&pacer, blocks: [131_000], lastReadAt: before))
        #expect(!endTurn(&pacer, blocks: [400], now: Self.start + .milliseconds(99)))
        #expect(endTurn(&pacer, blocks: [400], now: Self.start + .milliseconds(100)))
        // The same rate fills a large ring slowly.
        var other = TurnPacer()
        #expect(!endTurn(&other, blocks: [131_000], ring: 64 << 20, lastReadAt: before))
        #expect(endTurn(&other, blocks: [400]))
    }

    @Test("are as short as the smallest ring needs them to be")
    func lengths() {
        for (byteCount, milliseconds) in [
            (0, 0), (256 << 10, 3), (384 << 10, 4), (512 << 10, 5), (1 << 20, 5), (64 << 20, 5),
        ] {
            #expect(TurnPacer.pause(smallestRing: byteCount) == .milliseconds(milliseconds))
        }
    }

    @Test("end with a look at all rings where many of them had blocks")
    func many() {
        var pacer = TurnPacer()
        #expect(endTurn(&pacer, blocks: Array(repeating: 400, count: 49)) && !pacer.findsMany)
        #expect(endTurn(&pacer, blocks: Array(repeating: 400, count: 50)) && pacer.findsMany)
        #expect(endTurn(&pacer, blocks: [400]) && !pacer.findsMany)
    }
}
