import Forwarding
import FuzzSupport
import Testing
import Time

@Suite("Shares of a queue that is nearly full")
struct FairSharesTests {
    /// What one edge sends in a round, and what it is to get of it.
    struct Edge: Sendable {
        let wanted: Int
        let expected: Int
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let edges: [Edge]
    }

    /// In each round the sensor takes 12 blocks.
    private static let room = 12
    private static let roundCount = 1000

    @Test(
        "are equal for all that want more, and never less than what is wanted below that",
        arguments: [
            Case(testDescription: "one edge has all", edges: [Edge(wanted: 50, expected: 12)]),
            Case(
                testDescription: "two busy edges, of which one is busier",
                edges: [Edge(wanted: 50, expected: 6), Edge(wanted: 900, expected: 6)]),
            Case(
                testDescription: "one busy edge, and two that send little",
                edges: [
                    Edge(wanted: 900, expected: 9), Edge(wanted: 1, expected: 1),
                    Edge(wanted: 2, expected: 2),
                ]),
            Case(
                testDescription: "what a modest one leaves goes to the busy ones",
                edges: [
                    Edge(wanted: 900, expected: 5), Edge(wanted: 900, expected: 5),
                    Edge(wanted: 2, expected: 2),
                ]),
            Case(
                testDescription: "all have what they want",
                edges: [Edge(wanted: 4, expected: 4), Edge(wanted: 8, expected: 8)]),
        ])
    func shares(of example: Case) {
        var shares = FairShares(creditMax: 4000)
        var got = [Int](repeating: 0, count: example.edges.count)
        for _ in 0..<Self.roundCount {
            // A ring keeps nothing from one round to the next: what is not read is lost.
            var waiting = example.edges.map(\.wanted)
            shares.give(Self.room * 1000)
            for _ in 0..<Self.room {
                let keys = waiting.indices.filter { waiting[$0] > 0 }.map { UInt64($0) }
                guard let index = shares.next(among: keys) else { break }
                let key = Int(keys[index])
                shares.take(1000, from: keys[index])
                waiting[key] -= 1
                got[key] += 1
            }
        }
        for (edge, count) in zip(example.edges, got) {
            #expect(abs(count - edge.expected * Self.roundCount) <= 20)
        }
    }

    @Test("begin in rotation while all have the same credit")
    func rotation() {
        var shares = FairShares(creditMax: 1000)
        var turns: [UInt64] = []
        for _ in 0..<6 {
            let keys: [UInt64] = [7, 3, 9]
            guard let index = shares.next(among: keys) else { break }
            shares.take(500, from: keys[index])
            turns.append(keys[index])
        }
        #expect(turns == [3, 7, 9, 3, 7, 9])
        #expect(shares.next(among: []) == nil)
    }

    @Test("give an edge that comes late no more than the most credit")
    func late() {
        var shares = FairShares(creditMax: 1000)
        for _ in 0..<1000 {
            shares.take(5000, from: 1)
            shares.give(5000)
        }
        #expect(shares.credit(of: 1) == 1000 && shares.credit(of: 2) == 1000)
        shares.take(5000, from: 1)
        #expect(shares.credit(of: 1) == -4000)
        shares.give(3000)
        #expect(shares.credit(of: 1) == -1000)
        #expect(shares.next(among: [1, 2]) == 1)
    }

    @Test("lose nothing that somebody can have", arguments: 1...5 as ClosedRange<UInt64>)
    func conservation(seed: UInt64) {
        var generator = RandomNumbers(seed)
        var shares = FairShares(creditMax: 1 << 40)
        var debt = 0
        for _ in 0..<1000 {
            let (taken, given) = (
                Int.random(in: 0...5000, using: &generator),
                Int.random(in: 0...min(4000, debt), using: &generator)
            )
            shares.give(given)
            shares.take(taken, from: UInt64.random(in: 0..<9, using: &generator))
            debt += taken - given
            let found = (0..<9).reduce(0) { $0 + (1 << 40) - shares.credit(of: $1) }
            #expect((0..<9).contains(found - debt))
        }
    }
}

@Suite("The log of a slow peer")
struct PressureLogTests {
    @Test("has a line a minute at most, and one at the end of what it told of")
    func lines() {
        var log = PressureLog()
        let begin = MonotonicTime.zero
        var isLogged = log.note(now: begin)
        #expect(isLogged)
        isLogged = log.note(now: begin + .seconds(2))
        #expect(!isLogged)
        var time = log.end(now: begin + .seconds(3))
        #expect(time == .seconds(3))
        isLogged = log.note(now: begin + .seconds(58))
        time = log.end(now: begin + .seconds(59))
        #expect(!isLogged && time == nil)
    }

    @Test("tells of pressure that goes on when the minute is over")
    func late() {
        var log = PressureLog()
        let begin = MonotonicTime.zero
        _ = log.note(now: begin)
        _ = log.end(now: begin + .seconds(3))
        var isLogged = log.note(now: begin + .seconds(10))
        #expect(!isLogged)
        isLogged = log.note(now: begin + .seconds(60))
        #expect(isLogged)
        let time = log.end(now: begin + .seconds(61))
        #expect(time == .seconds(51))
    }
}
