import Agent
import Logging
import Testing
import Time

@Suite("The summary in the log")
struct SummaryTests {
    /// The time after a number of minutes.
    private func after(minutes count: Int) -> MonotonicTime { .zero + .seconds(60 * count) }

    private func state(packetCount: UInt64 = 0, edgeCount: Int = 2) -> Summary.State {
        var state = Summary.State()
        state.totals.packetCount = packetCount
        state.totals.requestsUnansweredCount = packetCount / 10
        state.totals.requestsNotHeldCount = packetCount / 5
        state.edgeCount = edgeCount
        return state
    }

    private func number(_ name: String, _ metadata: Logger.Metadata?) -> Int? {
        metadata?[name].flatMap { Int("\($0)") }
    }

    @Test("comes once a minute with what was done since the last one")
    func busy() {
        var summary = Summary(state(packetCount: 5), now: .zero)
        var lines: [Logger.Metadata] = []
        for second in 1...300 {
            let now = MonotonicTime.zero + .seconds(second)
            let state = state(packetCount: 5 + UInt64(second) * 10)
            if let line = summary.next(state, now: now) { lines.append(line) }
        }
        #expect(lines.map { number("packets", $0) } == [600, 600, 600, 600, 600])
        #expect(lines.allSatisfy { number("seconds", $0) == 60 })
        #expect(lines.map { number("requests_unanswered", $0) } == [60, 60, 60, 60, 60])
        #expect(lines.map { number("requests_not_held", $0) } == [120, 120, 120, 120, 120])
    }

    @Test("comes every quarter of an hour where nothing happens, and soon where something does")
    func idle() {
        var summary = Summary(state(), now: .zero)
        let minutes = (1...40).filter {
            summary.next(state(), now: after(minutes: $0)) != nil
        }
        #expect(minutes == [15, 30])
        let line = summary.next(state(edgeCount: 3), now: after(minutes: 41))
        #expect(number("edge_count", line) == 3 && number("seconds", line) == 660)
        #expect(summary.next(state(edgeCount: 3), now: after(minutes: 42)) == nil)
    }

    @Test("comes when it is asked for, and a minute later again")
    func asked() {
        var summary = Summary(state(), now: .zero)
        let second = { MonotonicTime.zero + .seconds($0) }
        let idle = summary.next(state(), isAsked: true, now: second(10))
        #expect(number("seconds", idle) == 10 && number("packets", idle) == 0)
        let busy = summary.next(state(packetCount: 7), isAsked: true, now: second(20))
        #expect(number("seconds", busy) == 10 && number("packets", busy) == 7)
        #expect(summary.deadline == second(80))
        #expect(summary.next(state(packetCount: 9), now: second(60)) == nil)
        let later = summary.next(state(packetCount: 9), now: second(80))
        #expect(number("seconds", later) == 60 && number("packets", later) == 2)
    }

    @Test("comes once after a long sleep")
    func sleep() {
        var summary = Summary(state(), now: .zero)
        #expect(summary.next(state(packetCount: 1), now: after(minutes: 100)) != nil)
        #expect(
            summary.next(state(packetCount: 2), now: after(minutes: 100) + .nanoseconds(1)) == nil)
    }
}
