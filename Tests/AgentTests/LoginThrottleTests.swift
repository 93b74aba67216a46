import Addressing
import Agent
import Testing
import Time

@Suite("A throttle for logins")
struct LoginThrottleTests {
    private static let begin = MonotonicTime.zero + .seconds(1000)

    /// A throttle in a box: `#expect` takes no call that changes a value.
    private final class Throttle {
        private var throttle = LoginThrottle()

        func admit(_ address: IPAddress, now: MonotonicTime) -> Bool {
            throttle.admit(address, now: now)
        }

        func isBarred(_ address: IPAddress, isKnown: Bool = false, now: MonotonicTime) -> Bool {
            throttle.isBarred(address, isKnown: isKnown, now: now)
        }

        func withdraw(_ address: IPAddress, now: MonotonicTime) {
            throttle.withdraw(address, now: now)
        }

        func forgive(_ address: IPAddress) { throttle.forgive(address) }
    }

    private func address(_ number: Int) throws -> IPAddress {
        try #require(IPAddress("10.0.\(number / 256).\(number % 256)"))
    }

    @Test("bars an address for a second after a wrong login, and others not at all")
    func wait() throws {
        let throttle = Throttle()
        let (one, other) = (try address(1), try address(2))
        #expect(throttle.admit(one, now: Self.begin))
        #expect(throttle.isBarred(one, now: Self.begin))
        #expect(throttle.isBarred(one, now: Self.begin + .milliseconds(999)))
        #expect(throttle.admit(other, now: Self.begin))
        #expect(throttle.admit(one, now: Self.begin + .seconds(1)))
    }

    @Test("bars it for longer each time from the third one on, and for a minute at most")
    func growth() throws {
        let throttle = Throttle()
        let address = try address(1)
        var now = Self.begin
        var waits: [Int] = []
        for _ in 0..<11 {
            #expect(throttle.admit(address, now: now))
            var wait = 0
            repeat { wait += 1 } while throttle.isBarred(address, now: now + .seconds(wait))
            waits.append(wait)
            now += .seconds(wait)
        }
        #expect(waits == [1, 1, 1, 2, 4, 8, 16, 32, 60, 60, 60])
    }

    @Test("begins anew after a right login, and ten minutes after the last one")
    func memory() throws {
        let throttle = Throttle()
        let address = try address(1)
        var now = Self.begin
        for _ in 0..<6 {
            #expect(throttle.admit(address, now: now))
            now += .seconds(60)
        }
        throttle.forgive(address)
        #expect(throttle.admit(address, now: now))
        #expect(throttle.admit(address, now: now + .seconds(1)))
        for _ in 0..<6 {
            now += .seconds(60)
            #expect(throttle.admit(address, now: now))
        }
        now += .seconds(700)
        #expect(throttle.admit(address, now: now))
        #expect(throttle.admit(address, now: now + .seconds(1)))
    }

    @Test("remembers a bounded number of addresses, those that wait for longest")
    func bound() throws {
        let throttle = Throttle()
        let first = try address(0)
        #expect(throttle.admit(first, now: Self.begin))
        #expect(throttle.admit(first, now: Self.begin + .seconds(1)))
        for number in 1...LoginThrottle.addressCountMax {
            let other = try address(number)
            #expect(throttle.admit(other, now: Self.begin))
        }
        #expect(throttle.isBarred(first, now: Self.begin + .seconds(1)))
        let barred = try (1...LoginThrottle.addressCountMax).filter {
            throttle.isBarred(try address($0), now: Self.begin)
        }
        #expect(barred.count == LoginThrottle.addressCountMax - 1)
    }

    @Test("bars an IPv6 address, and no neighbour in its /64")
    func neighbours() throws {
        let throttle = Throttle()
        let address = { try #require(IPAddress($0)) }
        var now = Self.begin
        // One address that tries as often as it may for an hour.
        while now < Self.begin + .seconds(3600) {
            if !throttle.isBarred(try address("2001:db8::1"), now: now) {
                #expect(throttle.admit(try address("2001:db8::1"), now: now))
            }
            #expect(!throttle.isBarred(try address("2001:db8::2"), now: now))
            now += .seconds(1)
        }
    }

    @Test("gives a /64 a bounded number of tries over all its addresses, but for known ones")
    func networks() throws {
        let throttle = Throttle()
        var tryCount = 0
        for number in 0..<6000 {
            // A hundred a second, each from another address.
            let now = Self.begin + .milliseconds(10 * number)
            let address = IPAddress(ipv6High: 0x2001_0db8_0000_0000, low: UInt64(number))
            if throttle.admit(address, now: now) { tryCount += 1 }
        }
        let seconds = 60
        #expect(
            tryCount == LoginThrottle.networkTryCountMax + seconds
                / Int(LoginThrottle.networkTryInterval.components.seconds) - 1)
        let end = Self.begin + .seconds(seconds)
        let neighbour = try #require(IPAddress("2001:db8::1:0"))
        #expect(throttle.isBarred(neighbour, now: end - .seconds(1)))
        #expect(!throttle.isBarred(neighbour, isKnown: true, now: end - .seconds(1)))
        #expect(!throttle.isBarred(try #require(IPAddress("2001:db8:0:1::1")), now: end))
        // After a while it has tries again.
        #expect(!throttle.isBarred(neighbour, now: end + LoginThrottle.networkTryInterval * 2))
    }

    @Test("takes back a login that was not looked at")
    func withdrawal() throws {
        let throttle = Throttle()
        let address = try address(1)
        for _ in 0..<10 {
            #expect(throttle.admit(address, now: Self.begin))
            throttle.withdraw(address, now: Self.begin)
        }
        #expect(!throttle.isBarred(address, now: Self.begin))
    }
}
