import FuzzSupport
import RPCAP
import Testing
import Time

/// Random sessions, held to the state table and to their bounds; and bytes that are hardly RPCAP at
/// all.
@Suite("A random session")
struct RandomSessionTests {
    /// Messages of the table, what they lead to in each state, and how long they are at most.
    @Test("never leaves the table, and needs a fraction of a megabyte", arguments: Fuzz.seeds)
    func table(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            let mode: ServerSession.Mode = Bool.random(using: &generator) ? .active : .passive
            var driver = Driver(mode)
            var state = "A"
            for _ in 0..<60 {
                guard let row = StateTable.rows.randomElement(using: &generator),
                    let expected = row.rows[state]
                else { continue }
                // More than a message needs is passed over, except where it has a meaning.
                var message = row.bytes
                if row.message != "start", row.message != "open",
                    Int.random(in: 0...3, using: &generator) == 0
                {
                    message += [UInt8](
                        repeating: 0xee, count: Int.random(in: 1...300, using: &generator))
                    let count = message.count - 8
                    message[6] = UInt8(count >> 8)
                    message[7] = UInt8(count & 0xff)
                }
                var sent: [UInt8] = []
                var rest = message[...]
                while !rest.isEmpty {
                    let part = rest.prefix(Int.random(in: 1...message.count, using: &generator))
                    rest = rest.dropFirst(part.count)
                    sent += driver.exchange(Array(part))
                    driver.now += .nanoseconds(Int.random(in: 0...50_000_000, using: &generator))
                }
                let isLastTry =
                    state == "A" && driver.closeReason?.hasPrefix("the peer did not log in") == true
                let goesOn = StateTable.goesOn(after: row.message, expected.goesOn, in: mode)
                guard Array(sent.prefix(4)) == hex(expected.reply),
                    (driver.closeReason == nil) == goesOn || isLastTry,
                    driver.session.inputCapacity < 1 << 19
                else { throw Fuzz.Complaint("\(row.message) in \(state): \(sent.prefix(16))") }
                guard driver.closeReason == nil else { return }
                state = Self.state(after: row.message, in: state)
                guard driver.session.isCapturing == (state == "C") else {
                    throw Fuzz.Complaint("\(row.message) does not lead to \(state)")
                }
            }
        }
    }

    private static func state(after message: String, in state: String) -> String {
        switch (message, state) {
        case ("login", "A"): "R"
        case ("open", "R"): "O"
        case ("start", "O"): "C"
        case ("end", "C"): "O"
        default: state
        }
    }

    @Test("survives any bytes, and holds no more than a message", arguments: Fuzz.seeds)
    func garbage(seed: UInt64) {
        let known = [
            Request.login, Request.list, Request.open, Request.start, Request.update, Request.end,
            Request.statistics, Request.sampling, Request.error, LoginTests.login("eve", "secret"),
        ]
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            var driver = Driver(
                Bool.random(using: &generator) ? .active : .passive, logins: [.null, .password])
            driver.refuses = Int.random(in: 0...3, using: &generator) == 0
            var byteCount = 0
            while driver.closeReason == nil, byteCount < 40_000 {
                var bytes = known.randomElement(using: &generator) ?? []
                for _ in 0..<Int.random(in: 0...2, using: &generator) {
                    bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
                        [0, 1, 8, 255, .random(in: 0...255, using: &generator)].randomElement(
                            using: &generator) ?? 0
                }
                if Int.random(in: 0...9, using: &generator) == 0 {
                    bytes += [UInt8](repeating: 0, count: .random(in: 0...5000, using: &generator))
                }
                let sent = driver.exchange(bytes)
                byteCount += bytes.count
                guard driver.session.inputCapacity < 1 << 19 else {
                    throw Fuzz.Complaint("holds too much")
                }
                guard Self.isWellFormed(sent) else { throw Fuzz.Complaint("sends \(sent)") }
                driver.now += .nanoseconds(Int.random(in: 0...2_000_000_000, using: &generator))
                if let deadline = driver.session.deadline, deadline <= driver.now {
                    _ = driver.exchange([])
                    guard driver.session.deadline.map({ $0 > driver.now }) ?? true else {
                        throw Fuzz.Complaint("a deadline that is over stays")
                    }
                }
            }
        }
    }

    /// Whether an answer is whole messages that a client would take, or TLS's alert.
    private static func isWellFormed(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while rest.count >= 8 {
            let start = rest.startIndex
            let count = rest[(start + 4)..<(start + 8)].reduce(0) { $0 << 8 | Int($1) }
            let isKnown = rest[start + 1] == 1 || rest[start + 1] & 0x80 != 0
            guard isKnown, rest.count >= 8 + count else { return false }
            rest = rest.dropFirst(8 + count)
        }
        return rest.isEmpty || bytes.first == 0x15
    }
}
