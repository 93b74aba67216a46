import Addressing
import BPF
import FuzzSupport
import RPCAP
import Testing
import Time

@Suite("A server session")
struct ServerSessionTests {
    @Test(
        "knows what to do with each message in each state", arguments: 0..<StateTable.rows.count,
        ["A", "R", "O", "C"])
    func states(row: Int, state: String) throws {
        let (message, bytes, rows) = StateTable.rows[row]
        let (reply, isTolerated) = try #require(rows[state])
        for mode in [ServerSession.Mode.active, .passive] {
            let goesOn = StateTable.goesOn(after: message, isTolerated, in: mode)
            var driver = Driver.inState(state, mode)
            let sent = driver.exchange(bytes)
            #expect(Array(sent.prefix(4)) == hex(reply), "\(message) in \(state), \(mode)")
            #expect((driver.closeReason == nil) == goesOn, "\(message) in \(state), \(mode)")
            guard goesOn else { continue }
            // Whatever it was, the next message is understood.
            let next = driver.exchange(
                state == "A" && message != "login" ? Request.login : Request.list)
            #expect(next.count > 4 && next[1] & 0x80 != 0, "after \(message) in \(state), \(mode)")
        }
    }

    @Test("answers statistics and the end of a capture that has ended by itself, but no new filter")
    func failedCapture() {
        for mode in [ServerSession.Mode.active, .passive] {
            var driver = Driver.inState("C", mode)
            driver.session.captureFailed("the reason", now: driver.now)
            #expect(driver.exchange(Request.statistics).prefix(2) == [0, 0x89])
            let refusal = driver.exchange(Request.update)
            #expect(refusal.prefix(4) == hex("00 01 00 07")[...])
            let text = String(decoding: refusal.dropFirst(8), as: UTF8.self)
            #expect(text == "the capture has ended: the reason")
            #expect(driver.exchange(Request.end).prefix(2) == [0, 0x8a])
            #expect(driver.exchange(Request.end).prefix(4) == hex("00 01 00 0d")[...])
            #expect(driver.exchange(Request.start).prefix(2) == [0, 0x84])
            // It need not be ended before another one is started.
            driver.session.captureFailed("the reason", now: driver.now)
            #expect(driver.exchange(Request.start).prefix(2) == [0, 0x84])
            #expect(driver.exchange(Request.update).prefix(2) == [0, 0x85])
            driver.session.captureFailed("the reason", now: driver.now)
            driver.refuses = true
            #expect(driver.exchange(Request.start).prefix(4) == hex("00 01 00 0c")[...])
            #expect(!driver.session.isCapturing && driver.closeReason == nil)
        }
    }

    @Test("takes no start without a port where the data goes to one")
    func portZero() {
        // UDP, the server opens, or both; in active mode the server always opens.
        for (flags, mode, isTaken) in [
            (2, ServerSession.Mode.passive, false), (4, .passive, false), (6, .active, false),
            (0, .active, false), (0, .passive, true),
        ] as [(UInt8, ServerSession.Mode, Bool)] {
            var request = Request.start
            request[17] = flags
            (request[18], request[19]) = (0, 0)
            var driver = Driver.inState("O", mode)
            let reply = driver.exchange(request)
            #expect((reply.prefix(2) == [0, 0x84]) == isTaken, "\(flags), \(mode)")
            #expect(isTaken || reply.prefix(4) == hex("00 01 00 0c")[...], "\(flags), \(mode)")
            #expect(driver.exchange(Request.list)[1] == 0x82)
        }
    }

    @Test("has an answer to what is malformed", arguments: 0..<StateTable.malformed.count)
    func malformed(row: Int) {
        let (name, bytes, state, reply, goesOn) = StateTable.malformed[row]
        var driver = Driver.inState(state)
        #expect(Array(driver.exchange(bytes).prefix(4)) == hex(reply), "\(name)")
        #expect((driver.closeReason == nil) == goesOn, "\(name)")
        guard goesOn else { return }
        let next = driver.exchange(state == "A" ? Request.login : Request.list)
        #expect(next.count > 4 && next[1] & 0x80 != 0, "after \(name)")
    }

    @Test("takes the instruction that libpcap's client sends behind a request of 20 bytes")
    func twentyBytes() {
        let head = hex(
            "00 04 00 00 00 00 00 14  00 00 ff ff 00 00 01 f4 00 04 9b 41  00 01 00 00 00 00 00 01")
        var driver = Driver.inState("O")
        #expect(driver.exchange(head).isEmpty)
        #expect(driver.exchange(hex("00 06 00 00 00 00 ff ff")).prefix(2) == [0, 0x84])
        #expect(driver.starts.map(\.filter) == [[Instruction(.keep, 0xffff)]])
        // What follows and is no such instruction is the next message.
        driver = Driver.inState("O")
        let sent = driver.exchange(head + Request.list)
        #expect(sent.prefix(4) == hex("00 01 00 0c")[...] && driver.closeReason == nil)
        #expect(sent.suffix(22).prefix(4) == hex("00 82 00 01")[...])
    }

    @Test("says no when its driver does, and goes on")
    func refusals() {
        var driver = Driver.inState("O")
        driver.refuses = true
        #expect(driver.exchange(Request.start).prefix(4) == hex("00 01 00 0c")[...])
        #expect(!driver.session.isCapturing)
        driver.refuses = false
        #expect(driver.exchange(Request.start).prefix(2) == [0, 0x84])
        driver.refuses = true
        #expect(driver.exchange(Request.update).prefix(4) == hex("00 01 00 07")[...])
        #expect(driver.session.isCapturing)
    }

    @Test("understands a stream however it is cut", arguments: 1...40 as ClosedRange<UInt64>)
    func splits(seed: UInt64) {
        let stream = [
            Request.login, Request.list, Request.open, Request.start, Request.update,
            Request.statistics, Request.sampling, Request.end, Request.start, Request.end,
        ].flatMap { $0 }
        var whole = Driver()
        let expected = whole.exchange(stream)
        var generator = RandomNumbers(seed)
        var driver = Driver()
        var sent: [UInt8] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let part = rest.prefix(Int.random(in: 1...20, using: &generator))
            rest = rest.dropFirst(part.count)
            sent += driver.exchange(Array(part))
        }
        #expect(sent == expected)
    }

    @Test("puts names before addresses when a list is too long, and keeps it below 60,000 bytes")
    func longList() throws {
        let address = Device.Address(IPAddress(ipv4: 0x0af4_0101), prefixBitCount: 16)
        var devices = [
            Device(
                name: "any-eth", description: "every pod", isPreselected: true,
                addresses: [Device.Address](repeating: address, count: 100))
        ]
        for number in 1...500 {
            devices.append(
                Device(
                    name: "veth1234abcd\(number)".prefix(15).description,
                    description: "the pod at 10.244.123.\(number), fd00:10:244:123::\(number)"))
        }
        var driver = Driver(.passive, devices: devices)
        _ = driver.exchange(Request.login)
        let reply = driver.exchange(Request.list)
        #expect(reply.prefix(4) == hex("00 82 01 f5")[...] && reply.count < 60_000)
        #expect(reply.count > 50_000, "the first device has addresses as far as there is room")
    }

    @Test("says that there is nothing to list")
    func emptyList() {
        var driver = Driver(devices: [])
        _ = driver.exchange(Request.login)
        #expect(driver.exchange(Request.list).prefix(4) == hex("00 01 00 05")[...])
    }

    static let samplings: [(payload: String, sampling: Sampling)] = [
        ("01 00 00 00 00 00 00 00", .none), ("00 00 00 00 00 00 00 05", .none),
        ("01 00 00 00 00 00 00 01", .none), ("01 00 00 00 00 00 00 05", .onePacketIn(5)),
        ("02 00 00 00 00 00 00 0a", .onePacketPerMilliseconds(10)),
        ("02 00 00 00 00 00 00 00", .none), ("07 00 00 00 00 00 00 05", .none),
    ]

    @Test("remembers sampling for the next capture", arguments: 0..<samplings.count)
    func sampling(row: Int) {
        let (payload, sampling) = Self.samplings[row]
        let request = hex("00 0b 00 00 00 00 00 08" + payload)
        var driver = Driver.inState("O")
        #expect(driver.exchange(request) == hex("00 8b 00 00 00 00 00 00"))
        #expect(driver.samplings.isEmpty)
        _ = driver.exchange(Request.start)
        #expect(driver.starts.map(\.sampling) == [sampling])
        _ = driver.exchange(request)
        #expect(driver.samplings == [sampling])
    }

    @Test("does not fill the log with what a peer reports")
    func notes() {
        var driver = Driver.inState("R")
        for _ in 0..<100 { _ = driver.exchange(Request.error) }
        #expect(driver.closeReason == nil && (1...20).contains(driver.notes.count))
        #expect(Set(driver.notes) == ["the peer reports an error: no"])
    }
}

@Suite("A login")
struct LoginTests {
    static func login(_ user: String, _ password: String) -> [UInt8] {
        Message.request(
            .login,
            LoginRequest.password(user: [UInt8](user.utf8), password: [UInt8](password.utf8)).bytes)
    }

    @Test("takes name and password, in the reference's form")
    func right() {
        var driver = Driver(.passive, logins: .password)
        let request =
            hex("00 08 00 00 00 00 00 11  00 01 00 00 00 03 00 06") + Array("evesecret".utf8)
        #expect(request == Self.login("eve", "secret"))
        #expect(
            driver.exchange(request) == hex("00 88 00 00 00 00 00 08  00 00 00 00 d4 c3 b2 a1"))
        #expect(driver.session.isLoggedIn)
    }

    @Test("is not null where that is not permitted, and the peer may try again")
    func nullRefused() {
        var driver = Driver(.passive, logins: .password)
        #expect(driver.exchange(Request.login).prefix(4) == hex("00 01 00 12")[...])
        #expect(driver.exchange(Self.login("eve", "secret")).prefix(2) == [0, 0x88])
    }

    @Test("is taken back, with a reason, when there is no place for it in the end")
    func withdrawn() {
        for (logins, request) in [
            (ServerSession.Logins.null, Request.login), (.password, Self.login("eve", "secret")),
        ] {
            var session = ServerSession(.passive, logins: logins, now: .zero)
            session.receive(request[...], now: .zero)
            if case .checkPassword? = session.nextAction(now: .zero) {
                session.passwordChecked(isRight: true, now: .zero)
                _ = session.nextAction(now: .zero)
            }
            #expect(session.isLoggedIn)
            session.withdrawLogin("no place")
            guard case .send(let bytes)? = session.nextAction(now: .zero) else {
                Issue.record("nothing is said")
                continue
            }
            #expect(bytes == Message.error(.network, "no place"))
            #expect(session.nextAction(now: .zero) == .close("no place"))
            #expect(!session.isLoggedIn)
        }
    }

    @Test("takes no password where nobody has one")
    func noUsers() {
        var driver = Driver(.passive, logins: .null)
        #expect(driver.exchange(Self.login("eve", "secret")).prefix(4) == hex("00 01 00 12")[...])
        #expect(driver.exchange(Request.login).prefix(2) == [0, 0x88])
    }

    @Test("pauses for a second after a wrong password, and ends after three")
    func wrong() {
        var driver = Driver(.passive, logins: .password)
        let guess = Self.login("eve", "guess")
        #expect(driver.exchange(guess).prefix(4) == hex("00 01 00 12")[...])
        #expect(driver.session.deadline == MonotonicTime.zero + .seconds(1))
        // The next try waits, whatever it is.
        #expect(driver.exchange(guess).isEmpty && driver.wait(seconds: 0.99).isEmpty)
        #expect(driver.wait(seconds: 0.02).prefix(4) == hex("00 01 00 12")[...])
        #expect(driver.closeReason == nil)
        _ = driver.wait(seconds: 1.1)
        #expect(driver.exchange(guess).prefix(4) == hex("00 01 00 12")[...])
        #expect(driver.closeReason != nil)
    }

    @Test("ends when a peer does not come to the point")
    func refusals() {
        var driver = Driver(.passive, logins: .password)
        var count = 0
        while driver.closeReason == nil, count < 100 {
            _ = driver.exchange(Request.list)
            count += 1
        }
        #expect(count == 10)
    }
}
