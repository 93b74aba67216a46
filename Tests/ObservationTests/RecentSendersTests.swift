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
        for number in 0..<RecentSenders.countMax {
            #expect(senders.insert(Self.address(number), at: 7, now: begin))
        }
        for number in 0..<RecentSenders.countMax {
            #expect(!senders.insert(Self.address(number), at: 7, now: begin))
        }
        let end = begin + RecentSenders.interval
        #expect(!senders.insert(Self.address(0), at: 7, now: end - .nanoseconds(1)))
        // It takes the place of the oldest one.
        #expect(senders.insert(Self.address(0), at: 8, now: begin))
        #expect(senders.insert(Self.address(0), at: 7, now: begin))
        #expect(senders.insert(Self.address(5), at: 7, now: end))
    }
}
