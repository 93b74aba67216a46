import Addressing
import Agent
import Testing
import Time

@Suite("A line of logins")
struct LoginLineTests {
    /// A line in a box: `#expect` takes no call that changes a value.
    private final class Line {
        private var line = LoginLine()
        var now = MonotonicTime.zero + .seconds(1000)

        /// Puts a login in line that has to find a place.
        func enter(_ address: String) throws -> LoginLine.Login {
            guard case .joined(let login) = try join(address) else { throw Missing() }
            return login
        }

        func join(_ address: String) throws -> LoginLine.Answer {
            line.join(try #require(IPAddress(address)), now: now)
        }

        /// The answer to a login in a word.
        func answer(_ address: String) throws -> String {
            switch try join(address) {
            case .joined: "joined"
            case .barred(let wait): "barred for \(wait)"
            case .crowded: "crowded"
            }
        }

        func begin(_ login: LoginLine.Login) -> Bool { line.begin(login) }

        func check(_ login: LoginLine.Login, isRight: Bool) -> Bool {
            guard line.begin(login) else { return false }
            line.finish(login, isRight: isRight)
            return true
        }

        struct Missing: Error {}
    }

    @Test("has one login of an address, the newest, and another one only when that is checked")
    func newest() throws {
        let line = Line()
        let old = try line.enter("192.0.2.1")
        let new = try line.enter("192.0.2.1")
        #expect(!line.begin(old) && line.begin(new))
        // It is counted as wrong until it is found to be right.
        #expect(try line.answer("192.0.2.1") == "barred for 1.0 seconds")
        #expect(line.check(new, isRight: true))
        #expect(try line.answer("192.0.2.1") == "joined")
    }

    @Test("has a bounded number, and more come again")
    func crowded() throws {
        let line = Line()
        for number in 1...LoginLine.countMax { _ = try line.enter("192.0.2.\(number)") }
        #expect(try line.answer("192.0.2.9") == "crowded")
        // It was not looked at, so it need not wait.
        #expect(try line.answer("192.0.2.9") == "crowded")
    }

    @Test("gives a newcomer the place of one of a /64 that has more")
    func networks() throws {
        let line = Line()
        let first = try line.enter("2001:db8::1")
        let second = try line.enter("2001:db8::2")
        let third = try line.enter("2001:db8::3")
        _ = try line.enter("192.0.2.1")
        _ = try line.enter("192.0.2.2")
        #expect(line.begin(first))
        let new = try line.enter("192.0.2.3")
        // The first one is being checked.
        #expect(!line.begin(second) && line.begin(third) && line.begin(new))
        #expect(try line.answer("2001:db8::4") == "crowded")
    }

    @Test("knows an address from which a login was right, which others keep out no more")
    func known() throws {
        let line = Line()
        for known in ["2001:db8::3", "192.0.2.99"] {
            #expect(line.check(try line.enter(known), isRight: true))
        }
        // A /64 uses up its tries, and others fill the line.
        for number in 0..<LoginThrottle.networkTryCountMax {
            let address = "2001:db8::1:\(number)"
            #expect(line.check(try line.enter(address), isRight: false))
        }
        let wait = LoginThrottle.networkTryInterval
        #expect(try line.answer("2001:db8::4") == "barred for \(wait)")
        for number in 1...LoginLine.countMax { _ = try line.enter("192.0.2.\(number)") }
        #expect(try line.answer("192.0.2.98") == "crowded")
        for known in ["2001:db8::3", "192.0.2.99"] {
            #expect(line.check(try line.enter(known), isRight: true))
        }
    }
}

@Suite("The addresses from which a login was right")
struct KnownAddressesTests {
    @Test("are remembered, the last ones of them")
    func memory() throws {
        var known = KnownAddresses()
        let address = { (number: Int) in try #require(IPAddress("10.0.0.\(number)")) }
        for number in 0..<KnownAddresses.countMax { known.add(try address(number)) }
        known.add(try address(0))
        known.add(try address(100))
        #expect(known.contains(try address(0)))
        #expect(known.contains(try address(100)))
        #expect(!known.contains(try address(1)))
        #expect(known.contains(try address(2)))
    }

    @Test("are not those beside them, and no /64 makes others forgotten")
    func ipv6() throws {
        var known = KnownAddresses()
        let quiet = try #require(IPAddress("192.0.2.1"))
        known.add(quiet)
        for number in 0..<10 * UInt64(KnownAddresses.countMax) {
            known.add(IPAddress(ipv6High: 0x2001_0db8_0000_0000, low: number))
        }
        #expect(known.contains(quiet))
        #expect(!known.contains(try #require(IPAddress("2001:db8::ffff"))))
    }
}
