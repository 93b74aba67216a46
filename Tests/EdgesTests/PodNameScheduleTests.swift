import Addressing
import Edges
import Testing
import Time

@Suite("The schedule of searches for pods' names")
struct PodNameScheduleTests {
    private func query(_ address: String = "10.244.1.7", _ incarnation: UInt64 = 1) -> PodNameQuery
    {
        PodNameQuery(
            incarnation: incarnation, interface: "veth1", podMAC: nil,
            podAddresses: Set([IPAddress(address)].compactMap { $0 }), appearedAt: nil)
    }

    private func time(milliseconds: Int) -> MonotonicTime {
        MonotonicTime.zero + .milliseconds(milliseconds)
    }

    @Test("has a search at once, and a few more within half a minute")
    func tries() {
        var schedule = PodNameSchedule()
        #expect(schedule.dueAt == nil)
        var tries: [Int] = []
        for tenth in 0..<1000 {
            let now = time(milliseconds: tenth * 100)
            schedule.follow([query()], now: now)
            if schedule.takeDue(now: now) == [query()] { tries.append(tenth) }
        }
        #expect(tries == [0, 1, 3, 10, 30, 100, 300] && schedule.dueAt == nil)
    }

    @Test("begins again when another pod is there, and ends with the edge")
    func changes() {
        var schedule = PodNameSchedule()
        schedule.follow([query()], now: .zero)
        #expect(schedule.takeDue(now: .zero) == [query()])
        let now = time(milliseconds: 7)
        schedule.follow([query("10.244.1.9")], now: now)
        #expect(schedule.dueAt == now)
        schedule.follow([], now: now)
        #expect(schedule.dueAt == nil && schedule.takeDue(now: .distantFuture).isEmpty)
    }

    @Test("takes what is due in the order of the edges")
    func order() {
        var schedule = PodNameSchedule()
        schedule.follow([query("10.244.1.8", 2), query("10.244.1.7", 1)], now: .zero)
        #expect(schedule.takeDue(now: .zero).map(\.incarnation) == [1, 2])
        #expect(schedule.takeDue(now: .zero).isEmpty)
        #expect(schedule.dueAt == time(milliseconds: 100))
    }
}
