import Addressing
import FuzzSupport
import Security
import Testing
import Time

@Suite("An admission")
struct AdmissionTests {
    private static let limits = Admission.Limits(
        loggedInCountMax: 3, pendingCountMax: 4, leavingCountMax: 2, countMaxPerAddress: 2,
        countMaxPerNetwork: 3, patience: .seconds(1))

    /// An admission in a box: `#expect` takes no call that changes a value.
    private final class Door {
        private(set) var admission: Admission
        var now = MonotonicTime.zero

        init(_ limits: Admission.Limits = limits) { admission = Admission(limits) }

        func admit(_ address: String, isKnown: Bool = false) throws -> Admission.Decision {
            admission.admit(try #require(IPAddress(address)), isKnown: isKnown, now: now)
        }

        /// Admits a peer that has to find a place.
        func enter(_ address: String, isKnown: Bool = false) throws -> Admission.ID {
            guard case .admitted(let id, _) = try admit(address, isKnown: isKnown) else {
                throw Missing()
            }
            return id
        }

        func logIn(_ id: Admission.ID) -> Bool { admission.logIn(id) }
        func logInIdle(_ id: Admission.ID) -> Admission.LoginDecision { admission.logInIdle(id) }
        func setIdle(_ isIdle: Bool, _ id: Admission.ID) { admission.setIdle(isIdle, id) }

        /// Admits a peer, and says which one has to go for it.
        func evicted(for address: String, isKnown: Bool = false) throws -> Admission.ID? {
            guard case .admitted(_, let evicted) = try admit(address, isKnown: isKnown) else {
                throw Missing()
            }
            return evicted
        }

        /// Admits a peer and logs it in as idle, and says what became of the login.
        func enterIdle(_ address: String) throws -> (Admission.ID, Admission.LoginDecision) {
            let id = try enter(address)
            return (id, logInIdle(id))
        }
        func remove(_ id: Admission.ID) { admission.remove(id) }

        struct Missing: Error {}
    }

    @Test(
        "lets no address stand for another one, also not of its /64",
        arguments: [
            ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::1", true), ("2001:db8::1", "2001:db8::ffff:1", false),
            ("2001:db8::1", "2001:db8:0:1::1", false), ("fe80::1", "fe80::2", false),
            ("0.0.0.1", "::1", false),
        ])
    func addresses(one: String, other: String, isSame: Bool) throws {
        let door = Door()
        for _ in 0..<Self.limits.countMaxPerAddress { _ = try door.enter(one) }
        let decision = try door.admit(other)
        #expect((decision == .refused(.networkLimit)) == isSame)
    }

    @Test("gives a neighbour in a crowded /64 the place of its busiest address")
    func crowdedNetwork() throws {
        let door = Door()
        let flood = try [1, 2].map { _ in try door.enter("2001:db8::1") }
        let quiet = try door.enter("2001:db8::2")
        #expect(try door.evicted(for: "2001:db8::3") == flood[0])
        door.remove(flood[0])
        // Each has one now, and the oldest one goes.
        #expect(try door.evicted(for: "2001:db8::4") == flood[1])
        door.remove(flood[1])
        #expect(try door.evicted(for: "2001:db8::5") == quiet)
    }

    @Test("bounds a /64 that connects from as many addresses as it likes, and not its known ones")
    func floodOfOneNetwork() throws {
        let limits = Admission.Limits(
            loggedInCountMax: 3, pendingCountMax: 16, leavingCountMax: 16, countMaxPerAddress: 4,
            countMaxPerNetwork: 8, patience: .seconds(1))
        let door = Door(limits)
        let other = try door.enter("192.0.2.1")
        var (peak, evicted, refusedCount) = (0, [Admission.ID](), 0)
        for number in 0..<10_000 {
            switch try door.admit("2001:db8::\(String(number, radix: 16))") {
            case .admitted(_, let one): if let one { evicted.append(one) }
            case .refused(let refusal):
                #expect(refusal == .networkLimit)
                refusedCount += 1
                for id in evicted { door.remove(id) }
                evicted = []
            }
            peak = max(peak, door.admission.pendingCount)
        }
        #expect(peak == 1 + 2 * limits.countMaxPerNetwork && refusedCount > 0)
        #expect(try door.evicted(for: "2001:db8::3", isKnown: true) == nil)
        #expect(try door.evicted(for: "198.51.100.1") == nil)
        #expect(!evicted.contains(other))
    }

    @Test("takes from the network with most pending peers when all places are taken")
    func fairness() throws {
        let door = Door()
        let quiet = try door.enter("192.0.2.1")
        let busy = try door.enter("192.0.2.2")
        _ = try door.enter("192.0.2.2")
        let last = try door.enter("192.0.2.3")
        #expect(try door.evicted(for: "192.0.2.4") == busy)
        door.remove(busy)
        #expect(try door.evicted(for: "192.0.2.5") == quiet)
        #expect(last != quiet)
    }

    @Test("gives up an idle one of the network with most logins, and never one that is not idle")
    func idle() throws {
        let door = Door()
        let (first, _) = try door.enterIdle("192.0.2.1")
        let (second, _) = try door.enterIdle("192.0.2.1")
        let (third, _) = try door.enterIdle("192.0.2.2")
        // Its own network has most of them.
        #expect(try door.enterIdle("192.0.2.1").1 == .refused)
        door.setIdle(false, first)
        #expect(try door.enterIdle("192.0.2.3").1 == .admitted(evicted: second))
        door.remove(second)
        #expect(try door.enterIdle("192.0.2.4").1 == .admitted(evicted: third))
        door.remove(third)
        #expect(door.admission.isFull)
    }

    @Test("refuses a login when all that are logged in are not idle")
    func busy() throws {
        let door = Door()
        for number in 1...3 {
            let (id, decision) = try door.enterIdle("192.0.2.\(number)")
            #expect(decision == .admitted(evicted: nil))
            door.setIdle(false, id)
        }
        let id = try door.enter("192.0.2.9")
        #expect(!door.admission.canLogInIdle(id) && door.logInIdle(id) == .refused)
        // Neighbours in a /64 are told apart, too.
        let neighbours = Door()
        for _ in 0..<3 { _ = try neighbours.enterIdle("2001:db8::1") }
        #expect(try neighbours.enterIdle("2001:db8::2").1 != .refused)
        #expect(try neighbours.enterIdle("2001:db8::1").1 == .refused)
    }

    @Test("has a place for a network again when one of its peers logs in or goes")
    func places() throws {
        let door = Door()
        let (first, second) = (try door.enter("192.0.2.1"), try door.enter("192.0.2.1"))
        #expect(try door.admit("192.0.2.1") == .refused(.networkLimit))
        #expect(door.logIn(first))
        _ = try door.enter("192.0.2.1")
        #expect(try door.admit("192.0.2.1") == .refused(.networkLimit))
        door.remove(second)
        _ = try door.enter("192.0.2.1")
        #expect(door.admission.count == 3 && door.admission.pendingCount == 2)
    }

    @Test("gives a newcomer the place of a peer of its network that had the time for a login")
    func neighbours() throws {
        let door = Door()
        let ids = try (1...2).map { _ in try door.enter("192.0.2.1") }
        door.now = door.now + .milliseconds(999)
        #expect(try door.admit("192.0.2.1") == .refused(.networkLimit))
        door.now = door.now + .milliseconds(1)
        guard case .admitted(_, evicted: ids[0]) = try door.admit("192.0.2.1") else {
            Issue.record("the oldest one stays")
            return
        }
        guard case .admitted(_, evicted: ids[1]) = try door.admit("192.0.2.1") else {
            Issue.record("the second one stays")
            return
        }
        // As many are leaving as may wait, and those that wait are new.
        door.now = door.now + .seconds(1)
        #expect(try door.admit("192.0.2.1") == .refused(.networkLimit))
        door.remove(ids[0])
        #expect(try door.admit("192.0.2.1") != .refused(.networkLimit))
    }

    @Test("evicts the oldest peer that is not evicted yet, and refuses when too many are leaving")
    func eviction() throws {
        let door = Door()
        let ids = try (1...4).map { try door.enter("192.0.2.\($0)") }
        guard case .admitted(_, evicted: ids[0]) = try door.admit("192.0.2.5") else {
            Issue.record("the oldest one stays")
            return
        }
        guard case .admitted(_, evicted: ids[1]) = try door.admit("192.0.2.6") else {
            Issue.record("the same one is evicted again")
            return
        }
        #expect(try door.admit("192.0.2.7") == .refused(.leavingLimit))
        #expect(door.admission.pendingCount == 6)
        door.remove(ids[0])
        guard case .admitted(_, evicted: ids[2]) = try door.admit("192.0.2.7") else {
            Issue.record("nobody is evicted")
            return
        }
    }

    @Test("keeps a peer that logs in though it was evicted")
    func lateLogin() throws {
        let door = Door()
        let ids = try (1...4).map { try door.enter("192.0.2.\($0)") }
        _ = try door.enter("192.0.2.5")
        #expect(door.logIn(ids[0]))
        #expect(door.admission.pendingCount == 4 && door.admission.count == 5)
    }

    @Test("lets a bounded number log in")
    func full() throws {
        let door = Door()
        let ids = try (1...4).map { try door.enter("192.0.2.\($0)") }
        for id in ids.prefix(3) { #expect(door.logIn(id)) }
        #expect(door.admission.isFull && !door.logIn(ids[3]))
        door.remove(ids[0])
        #expect(!door.admission.isFull && door.logIn(ids[3]))
    }

    @Test("has places for known peers that others cannot take, and that have bounds, too")
    func known() throws {
        let door = Door()
        let first = try door.enter("198.51.100.1", isKnown: true)
        for number in 1...6 { _ = try door.enter("192.0.2.\(number)") }
        #expect(try door.admit("192.0.2.7") == .refused(.leavingLimit))
        for number in 2...4 { _ = try door.enter("198.51.100.\(number)", isKnown: true) }
        guard
            case .admitted(_, evicted: first) = try door.admit("198.51.100.5", isKnown: true)
        else {
            Issue.record("a known peer evicts another one")
            return
        }
    }

    @Test(
        "stays within its bounds with 10,000 connections from as many addresses", arguments: 0..<3)
    func storm(seed: UInt64) throws {
        let limits = Admission.Limits(
            loggedInCountMax: 16, pendingCountMax: 16, leavingCountMax: 16, countMaxPerAddress: 4,
            countMaxPerNetwork: 8, patience: .seconds(1))
        var admission = Admission(limits)
        var numbers = RandomNumbers(seed)
        var leaving: [Admission.ID] = []
        var (admittedCount, refusedCount, peak) = (0, 0, 0)
        for number in 0..<UInt64(10_000) {
            let address =
                number % 2 == 0
                ? IPAddress(ipv4: 0x0a00_0000 + UInt32(number))
                : IPAddress(ipv6High: 0xfd00_0000_0000_0000 + number, low: number)
            switch admission.admit(address, now: .zero) {
            case .admitted(_, let evicted):
                admittedCount += 1
                if let evicted {
                    #expect(!leaving.contains(evicted), "evicted twice")
                    leaving.append(evicted)
                }
            case .refused(let refusal):
                refusedCount += 1
                #expect(refusal == .leavingLimit && leaving.count == limits.leavingCountMax)
            }
            peak = max(peak, admission.count)
            // Threads end when they are scheduled: one in twenty arrivals later, on average.
            while !leaving.isEmpty, Int.random(in: 0..<20, using: &numbers) == 0 {
                admission.remove(
                    leaving.remove(at: Int.random(in: leaving.indices, using: &numbers)))
            }
        }
        #expect(peak == limits.pendingCountMax + limits.leavingCountMax)
        #expect(admittedCount + refusedCount == 10_000 && refusedCount > 0)
        #expect(admittedCount - admission.count > 100, "somebody always gets a turn")
    }
}
