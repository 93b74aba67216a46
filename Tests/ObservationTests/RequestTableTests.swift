import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// The table's decisions, one situation after the other; times are milliseconds.
@Suite("A table of requests")
struct RequestTableTests {
    /// What happens to the table; `at` is the packet's time stamp, `read` the forwarder's clock.
    enum Step: Sendable {
        case request(RequestEdge, isOtherEdgeHere: Bool = false, at: Int, read: Int)
        case reset(at: Int, read: Int)
        /// An answer at an edge; the observed end's edge records it if the sender's edge is here too.
        case answer(
            RequestEdge, isReset: Bool = false, isOtherEdgeHere: Bool = false, at: Int, read: Int)
        case wait(until: Int)
    }

    /// What the table says.
    enum Outcome: Equatable, Sendable {
        case held, answered, full
        case fate(RequestTable.Release.Fate)
    }

    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let steps: [Step]
        let outcomes: [Outcome]

        var testDescription: String { name }

        init(_ name: String, _ steps: [Step], _ outcomes: [Outcome]) {
            (self.name, self.steps, self.outcomes) = (name, steps, outcomes)
        }
    }

    @Test("decides by edge and time", arguments: senders + observedEnds + bothHere)
    func decides(_ row: Row) {
        var table = RequestTable()
        let outcomes = row.steps.flatMap { table.carryOut($0) }
        #expect(outcomes == row.outcomes)
        #expect(table.count == 0 && table.expiresAt == nil)
    }

    @Test("tells requests apart by flow and number")
    func keys() {
        var table = RequestTable()
        let other = FlowKey(
            transport: 1, source: Site.a4, destination: Site.c4, sourcePort: 2, destinationPort: 2)
        let keys = [
            requestKey, RequestKey(requestKey.flow.reversed),
            RequestKey(requestKey.flow, sequence: 1),
            RequestKey(other), RequestKey(other, sequence: 1),
        ]
        let slots = keys.map { table.hold($0, at: .sender) }
        #expect(slots == (0..<keys.count).map { .held(slot: $0) })
        for (slot, key) in keys.enumerated().reversed() {
            #expect(table.release(answered: key, at: .sender)?.slot == slot)
            #expect(table.release(answered: key, at: .sender) == nil)
        }
    }

    @Test("gives up the oldest first, and a slot only once")
    func order() {
        var table = RequestTable()
        for number in 0..<6 as Range<UInt16> {
            _ = table.hold(
                RequestKey(requestKey.flow, sequence: number), at: .sender,
                read: 10 * Int(number))
        }
        #expect(
            table.release(answered: RequestKey(requestKey.flow, sequence: 2), at: .sender)?.slot
                == 2)
        let taken = table.take(4)
        #expect(taken?.slot == 4 && taken?.fate == .unanswered)
        #expect(table.take(4) == nil)
        #expect(table.expiresAt == time(600))
        #expect(table.takeExpired(now: time(599)) == nil)
        #expect(table.takeExpired(now: time(600))?.slot == 0)
        #expect(table.takeExpired(now: time(600)) == nil)
        #expect(table.takeFirst()?.slot == 1)
        #expect(table.expiresAt == time(630))
        // A free slot is used again, and comes last.
        #expect(table.hold(requestKey, at: .sender, read: 100) == .held(slot: 1))
        #expect([3, 5, 1] == (0..<3).compactMap { _ in table.takeFirst()?.slot })
        #expect(table.takeFirst() == nil && table.count == 0)
    }

    @Test("takes the oldest of one name first")
    func oldest() {
        var table = RequestTable()
        for _ in 0..<40 { _ = table.hold(requestKey, at: .observedEnd) }
        let slots = (0..<40).map { _ in table.release(answered: requestKey, at: .observedEnd)?.slot
        }
        #expect(slots == (0..<40).map { $0 })
    }

    @Test("releases all requests of one name, however many there are")
    func longBucket() {
        var table = RequestTable()
        for _ in 0..<1000 { _ = table.hold(requestKey, at: .observedEnd) }
        var slots: Set<Int> = []
        while let release = table.release(answered: requestKey, at: .observedEnd) {
            #expect(release.fate == .answeredHere)
            slots.insert(release.slot)
        }
        #expect(slots == Set(0..<1000) && table.count == 0)
    }

    @Test("holds no more than it has room for, and holds again when there is room")
    func full() {
        var table = RequestTable()
        for number in 0..<RequestTable.countMax {
            #expect(table.hold(numbered(number), at: .sender) == .held(slot: number))
        }
        #expect(table.hold(requestKey, at: .sender) == .full)
        #expect(table.hold(requestKey, at: .observedEnd) == .full)
        #expect(table.holdReset(requestKey, seenAt: stamp(0), now: time(0)) == .full)
        #expect(table.count == RequestTable.countMax)
        #expect(table.release(answered: numbered(77), at: .sender)?.slot == 77)
        #expect(table.hold(requestKey, at: .sender) == .held(slot: 77))
        var count = 0
        while table.takeExpired(now: time(600)) != nil { count += 1 }
        #expect(count == RequestTable.countMax)
    }

    @Test("forgets answers, whether packets wait or not")
    func answers() {
        var table = RequestTable()
        var fullCount = 0
        // An hour of 20 connections a second between pods of this node, answered in a millisecond.
        for number in 0..<72_000 {
            let (key, now) = (numbered(number), 50 * number)
            let holding = table.hold(key, at: .observedEnd, stamp: now, read: now)
            if holding == .full { fullCount += 1 }
            _ = table.release(answered: key, at: .observedEnd, stamp: now + 1, read: now + 1)
            table.record(
                answerTo: key, isReset: false, seenAt: stamp(now + 1), now: time(now + 1))
            // The forwarder looks for what has expired only while something waits.
            while table.expiresAt != nil, table.takeExpired(now: time(now + 1)) != nil {
                fullCount += 1
            }
        }
        #expect(fullCount == 0 && table.count == 0)
    }

    @Test("forgets the oldest answers if there are too many")
    func manyAnswers() {
        var table = RequestTable()
        let keptCount = 16_384
        for number in 0..<keptCount + 10 { table.record(answerTo: numbered(number)) }
        for number in 0..<keptCount + 10 {
            let holding = table.hold(numbered(number), at: .sender, isOtherEdgeHere: true)
            guard (holding == .answered) == (number >= 10) else {
                Issue.record("request \(number): \(holding)")
                return
            }
        }
        #expect(table.count == 10)
    }

    @Test("gives requests the room of the oldest answers")
    func answersGiveWay() {
        var table = RequestTable()
        let answerCount = 16_384
        let requests = answerCount..<answerCount + RequestTable.countMax
        for number in 0..<answerCount { table.record(answerTo: numbered(number)) }
        for number in requests.prefix(RequestTable.countMax - answerCount + 10) {
            #expect(table.hold(numbered(number), at: .sender).isHeld)
        }
        // Ten answers have gone, and an eleventh makes room for a request that lacks its answer.
        #expect(table.hold(numbered(10), at: .sender, isOtherEdgeHere: true) == .answered)
        #expect(table.hold(numbered(9), at: .sender, isOtherEdgeHere: true).isHeld)
        #expect(table.hold(numbered(11), at: .sender, isOtherEdgeHere: true) == .answered)
        // An answer takes the room of an older one, and never that of a request.
        table.record(answerTo: numbered(0))
        #expect(table.hold(numbered(0), at: .sender, isOtherEdgeHere: true) == .answered)
        #expect(table.hold(numbered(11), at: .sender, isOtherEdgeHere: true).isHeld)
        while table.count < RequestTable.countMax {
            guard table.hold(requestKey, at: .sender).isHeld else { break }
        }
        #expect(table.count == RequestTable.countMax)
        table.record(answerTo: numbered(1))
        #expect(table.hold(numbered(1), at: .sender, isOtherEdgeHere: true) == .full)
        var count = 0
        while table.takeExpired(now: time(600)) != nil { count += 1 }
        #expect(count == RequestTable.countMax && table.count == 0)
    }

    @Test("asks once more for an answer that was compared with too many others")
    func answersBehindOthers() {
        var table = RequestTable()
        for number in 0...64 {
            _ = table.hold(
                requestKey, at: .sender, isOtherEdgeHere: true, stamp: number == 0 ? 0 : 10)
        }
        #expect(table.release(answered: requestKey, at: .observedEnd, stamp: 5) == nil)
        table.record(answerTo: requestKey, stamp: 5)
        var fates = (0...64).map { _ in table.takeExpired(now: time(600))?.fate }
        #expect(fates == [.answeredThere] + Array(repeating: .unanswered, count: 64))

        table = RequestTable()
        for number in 0...64 {
            _ = table.holdReset(requestKey, seenAt: stamp(number == 0 ? 10 : 1), now: time(0))
        }
        #expect(
            table.release(answered: requestKey, at: .observedEnd, isReset: true, stamp: 5) == nil)
        table.record(answerTo: requestKey, isReset: true, stamp: 5)
        fates = (0...64).map { _ in table.takeExpired(now: time(600))?.fate }
        #expect(fates == [.resetSeenThere] + Array(repeating: .resetFromElsewhere, count: 64))
        #expect(table.count == 0)
    }

    @Test("knows a long burst of resets by few entries")
    func burst() {
        var table = RequestTable()
        for number in 0..<40_000 {
            table.record(
                answerTo: requestKey, isReset: true, seenAt: stamp(0) + UInt64(10_000 * number),
                now: time(number / 100))
        }
        for number in 0..<40_000 {
            let holding = table.holdReset(
                requestKey, seenAt: stamp(0) + UInt64(10_000 * number + 5000), now: time(400))
            guard holding == .answered else {
                Issue.record("reset \(number): \(holding)")
                return
            }
        }
        #expect(table.count == 0)
    }

    @Test("holds a scan at 50,000 requests a second, for 20 seconds, and loses none")
    func scan() {
        var table = RequestTable()
        var (heldCount, releasedCount, mostCount, faultCount) = (0, 0, 0, 0)
        for millisecond in 0..<20_000 {
            for number in 0..<50 {
                let key = numbered(millisecond * 50 + number)
                guard
                    case .held = table.hold(key, at: .sender, stamp: millisecond, read: millisecond)
                else {
                    faultCount += 1
                    continue
                }
                heldCount += 1
            }
            mostCount = max(mostCount, table.count)
            while let release = table.takeExpired(now: time(millisecond)) {
                releasedCount += 1
                if release.fate != .unanswered { faultCount += 1 }
            }
        }
        #expect(faultCount == 0 && heldCount == 1_000_000)
        #expect(heldCount - releasedCount == table.count)
        #expect(mostCount <= 50 * 601)
    }
}

private let requestKey = RequestKey(
    FlowKey(
        transport: 6, source: Site.a4, destination: Site.c4, sourcePort: 40_000,
        destinationPort: 80))

private func numbered(_ number: Int) -> RequestKey {
    RequestKey(
        FlowKey(
            transport: 6, source: Site.a4,
            destination: IPAddress(ipv4: 0x0af4_0000 | UInt32(number >> 16)),
            sourcePort: 40_000, destinationPort: UInt16(truncatingIfNeeded: number)))
}

private func stamp(_ milliseconds: Int) -> UInt64 {
    1_700_000_000_000_000_000 + UInt64(milliseconds) * 1_000_000
}

private func time(_ milliseconds: Int) -> MonotonicTime {
    MonotonicTime(nanoseconds: 5_000_000_000) + .milliseconds(milliseconds)
}

extension RequestTable {
    fileprivate mutating func hold(
        _ key: RequestKey, at edge: RequestEdge, isOtherEdgeHere: Bool = false, stamp at: Int = 0,
        read: Int = 0
    ) -> Holding {
        hold(
            key, at: edge, isOtherEdgeHere: isOtherEdgeHere, seenAt: stamp(at), now: time(read))
    }

    fileprivate mutating func release(
        answered key: RequestKey, at edge: RequestEdge, isReset: Bool = false, stamp at: Int = 0,
        read: Int = 0
    ) -> Release? {
        release(answered: key, at: edge, isReset: isReset, seenAt: stamp(at), now: time(read))
    }

    fileprivate mutating func record(
        answerTo key: RequestKey, isReset: Bool = false, stamp at: Int = 0
    ) {
        record(answerTo: key, isReset: isReset, seenAt: stamp(at), now: time(0))
    }

    fileprivate mutating func carryOut(
        _ step: RequestTableTests.Step
    ) -> [RequestTableTests.Outcome] {
        var outcomes: [RequestTableTests.Outcome] = []
        switch step {
        case .request(let edge, let isOtherEdgeHere, let at, let read):
            outcomes.append(
                hold(requestKey, at: edge, isOtherEdgeHere: isOtherEdgeHere, stamp: at, read: read)
                    .outcome)
        case .reset(let at, let read):
            outcomes.append(
                holdReset(requestKey, seenAt: stamp(at), now: time(read)).outcome)
        case .answer(let edge, let isReset, let isOtherEdgeHere, let at, let read):
            while let release = release(
                answered: requestKey, at: edge, isReset: isReset, stamp: at, read: read)
            {
                outcomes.append(.fate(release.fate))
            }
            if isOtherEdgeHere {
                record(answerTo: requestKey, isReset: isReset, seenAt: stamp(at), now: time(read))
            }
        case .wait(let until):
            while let release = takeExpired(now: time(until)) {
                outcomes.append(.fate(release.fate))
            }
        }
        return outcomes
    }
}

extension RequestTable.Holding {
    fileprivate var isHeld: Bool {
        if case .held = self { true } else { false }
    }

    fileprivate var outcome: RequestTableTests.Outcome {
        switch self {
        case .held: .held
        case .answered: .answered
        case .full: .full
        }
    }
}
