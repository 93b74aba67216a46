import Edges
import Testing
import Time

@Suite("The refresh schedule")
struct RefreshScheduleTests {
    private let start = MonotonicTime(nanoseconds: 1 << 40)

    @Test("asks about a pod again a little later, and once more, each pod once")
    func delays() {
        var schedule = RefreshSchedule(now: start)
        schedule.add([7, 8], now: start)
        schedule.add([7], now: start + .milliseconds(1))
        #expect(schedule.dueAt(now: start) == start + .milliseconds(200))
        #expect(schedule.takeDue(now: start + .milliseconds(199)).isEmpty)
        #expect(schedule.takeDue(now: start + .milliseconds(201)) == [7, 8])
        #expect(schedule.takeDue(now: start + .milliseconds(999)).isEmpty)
        #expect(schedule.takeDue(now: start + .milliseconds(1000)) == [7, 8])
        #expect(schedule.takeDue(now: start + .milliseconds(1001)) == [7])
        #expect(schedule.takeDue(now: .distantFuture).isEmpty)
    }

    @Test("polls everything twice a minute")
    func poll() {
        var schedule = RefreshSchedule(now: start)
        #expect(schedule.dueAt(now: start) == start + .seconds(30))
        let times: [Duration] = [.milliseconds(29_999), .seconds(30), .seconds(30)]
        let polls = times.map { schedule.takePoll(now: start + $0) }
        #expect(polls == [false, true, false])
        #expect(schedule.dueAt(now: start + .seconds(30)) == start + .seconds(60))
    }

    @Test("lets events from inside pods wait for ten milliseconds")
    func podEvents() {
        var schedule = RefreshSchedule(now: start)
        #expect(schedule.allowsPodEvents(now: start))
        schedule.postponePodEvents(now: start)
        #expect(!schedule.allowsPodEvents(now: start + .milliseconds(9)))
        #expect(schedule.dueAt(now: start) == start + .milliseconds(10))
        #expect(schedule.allowsPodEvents(now: start + .milliseconds(10)))
        #expect(schedule.dueAt(now: start + .milliseconds(10)) == start + .seconds(30))
    }

    @Test("stays small in a storm of events")
    func storm() {
        var schedule = RefreshSchedule(now: start)
        for index in 0..<20_000 as Range<UInt32> { schedule.add([index], now: start) }
        #expect(schedule.takeDue(now: .distantFuture).count == 5000)
        schedule.add([1], now: start)
        #expect(schedule.takeDue(now: .distantFuture) == [1])
    }
}
