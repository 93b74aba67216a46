import Agent
import Linux
import Metrics
import Testing
import Time

@Suite("What an agent knows of itself")
struct StatusTests {
    @Test("is which loops have not run for long, and those that are over do not count")
    func watchdog() {
        let watchdog = Watchdog()
        let begin = MonotonicTime.now
        let late = begin + Watchdog.silenceMax + .seconds(10)
        let first = watchdog.begin("the first")
        do {
            let second = watchdog.begin("the second")
            second.beat()
            #expect(watchdog.stuckLoops(now: begin).isEmpty && watchdog.count == 2)
            #expect(
                Set(watchdog.stuckLoops(now: late).map(\.name)) == ["the first", "the second"])
            let health = Health.liveness(of: watchdog, now: late)
            #expect(!health.isGood && health.text.hasPrefix("not alive\nthe "))
            #expect(health.text.contains("\nthe second: no heartbeat for "))
        }
        #expect(watchdog.stuckLoops(now: late).map(\.name) == ["the first"])
        first.beat()
        #expect(watchdog.stuckLoops(now: begin + Watchdog.silenceMax).isEmpty)
        #expect(
            Health.liveness(of: watchdog, now: begin + Watchdog.silenceMax).text
                == "alive\nloops that run: 1\n")
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
