import Edges
import Testing
import Time

@Suite("The schedule of interfaces without a host end")
struct PodInterfaceScheduleTests {
    private let start = MonotonicTime(nanoseconds: 1 << 40)

    @Test("lists at once, and three times more")
    func delays() {
        var schedule = PodInterfaceSchedule()
        #expect(schedule.dueAt == .distantFuture)
        schedule.request(now: start)
        for delay in PodInterfaceSchedule.delays {
            #expect(schedule.dueAt == start + delay)
            #expect(schedule.takeDue(now: start + delay - .nanoseconds(1)) == false)
            #expect(schedule.takeDue(now: start + delay) == true)
        }
        #expect(schedule.dueAt == .distantFuture)
    }

    @Test("keeps to its shortest interval, however many events come")
    func storm() {
        var schedule = PodInterfaceSchedule()
        var count = 0
        for millisecond in 0..<10_000 {
            let now = start + .milliseconds(millisecond)
            schedule.request(now: now)
            if schedule.takeDue(now: now) { count += 1 }
        }
        #expect(count == 100)
        // The last event has its listings, too.
        #expect(schedule.takeDue(now: start + .milliseconds(10_199)) == true)
    }
}
