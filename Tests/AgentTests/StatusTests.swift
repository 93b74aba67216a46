import Metrics
import Agent
import Linux
import Testing

@Suite("What an agent knows of itself")
struct StatusTests {
    @Test("is which loops have not turned for long, and those that are over do not count")
    func pulses() {
        let pulses = Watchdog()
        let begin = monotonicNanoseconds()
        let late = begin + Watchdog.nanosecondsMax + 10_000_000_000
        let first = pulses.begin("the first")
        do {
            let second = pulses.begin("the second")
            second.beat()
            #expect(pulses.stuck(now: begin).isEmpty && pulses.count == 2)
            #expect(Set(pulses.stuck(now: late).map(\.name)) == ["the first", "the second"])
            let health = Health.liveness(of: pulses, now: late)
            #expect(!health.isGood && health.text.hasPrefix("not alive\nthe "))
            #expect(health.text.contains("\nthe second: has not turned for "))
        }
        #expect(pulses.stuck(now: late).map(\.name) == ["the first"])
        first.beat()
        #expect(pulses.stuck(now: begin + Watchdog.nanosecondsMax).isEmpty)
        #expect(
            Health.liveness(of: pulses, now: begin + Watchdog.nanosecondsMax).text
                == "alive\nloops that turn: 1\n")
    }

    @Test("is which of too many edges have series of their own, for as long as they are there")
    func series() {
        var series = EdgeLabelSet()
        let count = UInt64(EdgeLabelSet.countMax)
        series.update(Set(1...count + 2))
        #expect(series.incarnations == Set(1...count))
        // One that had no room gets none when there is some, since its figures are in the others'.
        series.update(Set(2...count + 2))
        #expect(series.incarnations == Set(2...count))
        series.update(Set(2...count + 3))
        #expect(series.incarnations == Set(2...count).union([count + 3]))
        series.update([])
        series.update([count + 1])
        #expect(series.incarnations == [count + 1])
    }
}
