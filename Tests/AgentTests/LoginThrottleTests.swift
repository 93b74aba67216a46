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

        func isBarred(_ address: IPAddress, now: MonotonicTime) -> Bool {
            throttle.isBarred(address, now: now)
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

    @Test("takes the addresses of an IPv6 /64 for one")
    func networks() throws {
        let throttle = Throttle()
        let address = { try #require(IPAddress($0)) }
        #expect(throttle.admit(try address("2001:db8::1"), now: Self.begin))
        #expect(throttle.isBarred(try address("2001:db8::2"), now: Self.begin))
        #expect(!throttle.isBarred(try address("2001:db8:0:1::1"), now: Self.begin))
    }
}

@Suite("The networks from which a login was right")
struct KnownNetworksTests {
    @Test("are remembered, the last ones of them")
    func memory() throws {
        var networks = KnownNetworks()
        let address = { (number: Int) in try #require(IPAddress("10.0.0.\(number)")) }
        for number in 0..<KnownNetworks.countMax { networks.add(try address(number)) }
        networks.add(try address(0))
        networks.add(try address(100))
        #expect(networks.contains(try address(0)))
        #expect(networks.contains(try address(100)))
        #expect(!networks.contains(try address(1)))
        #expect(networks.contains(try address(2)))
    }

    @Test("are the /64 of an IPv6 address")
    func ipv6() throws {
        var networks = KnownNetworks()
        networks.add(try #require(IPAddress("2001:db8::1")))
        #expect(networks.contains(try #require(IPAddress("2001:db8::abcd"))))
        #expect(!networks.contains(try #require(IPAddress("2001:db8:0:1::1"))))
    }
}
