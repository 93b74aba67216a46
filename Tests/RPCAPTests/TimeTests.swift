import RPCAP
import Testing
import Time

/// What a session grants its peer: the mode, the state, what has been sent of a message, and after how
/// many seconds it is over; nil for never.
@Suite("A server session's patience")
struct TimeTests {
    static let rows: [(mode: ServerSession.Mode, state: String, begun: [UInt8], seconds: Double?)] =
        [
            (.passive, "A", [], 90), (.passive, "R", [], 180), (.passive, "O", [], 180),
            (.passive, "C", [], nil), (.active, "A", [], nil), (.active, "R", [], nil),
            (.active, "O", [], nil), (.active, "C", [], nil),
            (.passive, "A", [0, 8, 0], 10), (.passive, "C", Array(Request.update.dropLast()), 10),
            (.active, "A", [0, 8, 0], 10), (.active, "O", Array(Request.start.dropLast()), 10),
        ]

    @Test("ends when it should, with error 2, and not before", arguments: 0..<rows.count)
    func patience(row: Int) {
        let (mode, state, begun, seconds) = Self.rows[row]
        var driver = Driver.inState(state, mode)
        driver.now += .seconds(5)
        // A message has just been dealt with.
        if state != "A" { _ = driver.exchange(Request.statistics) } else { driver.now = .zero }
        _ = driver.exchange(begun)
        guard let seconds else {
            #expect(driver.session.deadline == nil)
            #expect(driver.wait(seconds: 1e6).isEmpty && driver.closeReason == nil)
            return
        }
        #expect(driver.wait(seconds: seconds - 0.01).isEmpty && driver.closeReason == nil)
        #expect(driver.session.deadline.map { $0 > driver.now } == true)
        #expect(driver.wait(seconds: 0.02).prefix(4) == hex("00 01 00 02")[...])
        #expect(driver.closeReason != nil)
    }

    @Test("is 180 s for a client whose capture has ended by itself, and 30 s for a sensor")
    func failedCapture() {
        for (mode, seconds, text) in [
            (ServerSession.Mode.passive, 180.0, "nothing was asked for 180 s"),
            (.active, 30, "no capture was begun within 30 s"),
        ] {
            var driver = Driver.inState("C", mode)
            driver.now += .seconds(1000)
            driver.session.captureFailed("the reason", now: driver.now)
            #expect(driver.wait(seconds: seconds - 0.01).isEmpty && driver.closeReason == nil)
            #expect(driver.wait(seconds: 0.02).prefix(4) == hex("00 01 00 02")[...])
            #expect(driver.closeReason == "the reason, and \(text)")
        }
    }

    @Test("does not begin anew when a sensor without a capture asks for something else")
    func failedCaptureOfABusySensor() {
        for request in [
            Request.statistics, Request.list, Request.open, Request.update, Request.sampling,
            Request.unknown, Request.error, [0, 9, 0],
        ] {
            var driver = Driver.inState("C", .active)
            driver.session.captureFailed("the reason", now: driver.now)
            for _ in 0..<15 { _ = driver.exchange(request) + driver.wait(seconds: 1.9) }
            #expect(driver.closeReason == nil || request.count == 3)
            #expect(driver.session.deadline.map { $0 > driver.now } ?? true)
            _ = driver.wait(seconds: 1.6)
            #expect(driver.closeReason != nil, "\(request)")
        }
        for request in [Request.start, Request.end] {
            var driver = Driver.inState("C", .active)
            driver.session.captureFailed("the reason", now: driver.now)
            _ = driver.wait(seconds: 29)
            _ = driver.exchange(request)
            #expect(driver.wait(seconds: 1000).isEmpty && driver.closeReason == nil)
            #expect(driver.session.deadline == nil)
        }
    }

    @Test("does not count the time that a message waits for its turn")
    func waiting() {
        var driver = Driver(.passive, logins: .password)
        _ = driver.exchange(LoginTests.login("eve", "guess") + [0, 8, 0])
        // The pause after a wrong password is not the peer's.
        _ = driver.wait(seconds: 1.5)
        #expect(driver.wait(seconds: 9.9).isEmpty && driver.closeReason == nil)
        #expect(driver.wait(seconds: 0.2).prefix(4) == hex("00 01 00 02")[...])
    }

    @Test("takes eight bytes that do not come for eight bytes that do not come")
    func lastEight() {
        var driver = Driver.inState("O")
        let request = hex(
            "00 04 00 00 00 00 00 14  00 00 ff ff 00 00 01 f4 00 04 9b 41  00 01 00 00 00 00 00 01")
        #expect(driver.exchange(request).isEmpty)
        #expect(driver.session.deadline == driver.now + .seconds(1))
        #expect(driver.wait(seconds: 1.01).prefix(4) == hex("00 01 00 0c")[...])
        #expect(driver.closeReason == nil && driver.exchange(Request.list)[1] == 0x82)
    }
}
