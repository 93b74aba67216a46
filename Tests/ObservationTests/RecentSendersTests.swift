import Addressing
import Observation
import Testing
import Time

@Suite("Recent senders")
struct RecentSendersTests {
    private static func address(_ number: Int) -> IPAddress {
        IPAddress(ipv4: 0x0a08_0000 + UInt32(number))
    }

    @Test("are new once a second, at each edge, as long as there are not too many")
    func insert() {
        var senders = RecentSenders()
        let begin = MonotonicTime(nanoseconds: 5_000_000_000)
        let end = begin + RecentSenders.interval
        let all = 0..<RecentSenders.countMax
        let isNew = { number, edge, now in
            senders.insert(Self.address(number), at: edge, now: now)
        }
        #expect(all.map { isNew($0, 7, begin) } == all.map { _ in true })
        #expect(all.map { isNew($0, 7, begin) } == all.map { _ in false })
        let steps = [
            isNew(0, 7, end - .nanoseconds(1)),
            // It takes the place of the oldest one.
            isNew(0, 8, begin), isNew(0, 7, begin), isNew(5, 7, end),
        ]
        #expect(steps == [false, true, true, true])
    }
}
