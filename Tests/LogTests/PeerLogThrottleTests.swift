import Linux
import Log
import Logging
import Synchronization
import Testing
import Time

@Suite("A throttle of a peer's log lines")
struct PeerLogThrottleTests {
    private let begin = MonotonicTime.zero + .seconds(1000)

    @Test("has the first failure of sessions, then one every five minutes, and says when they work")
    func failures() {
        var lines = PeerLogThrottle()
        #expect(lines.recordConnection() == [:])
        var told: [Int] = []
        for second in stride(from: 0, to: 900, by: 10) {
            let now = begin + .seconds(second)
            if lines.recordFailure("no TLS", since: now, now: now) != nil { told.append(second) }
            #expect(lines.isFailing && lines.recordConnection() == nil)
        }
        #expect(told == [0, 300, 600])
        #expect(lines.recordSuccess() == 90)
        #expect(!lines.isFailing && lines.recordConnection() == [:])
    }

    @Test("has each reason once, up to a bound")
    func reasons() {
        var lines = PeerLogThrottle()
        let count = (0..<100).count {
            let text = "reason \($0)"
            let first = lines.recordFailure(text, since: begin, now: begin + .seconds(1))
            let second = lines.recordFailure(
                text, since: begin + .seconds(2), now: begin + .seconds(2))
            return first != nil && second == nil
        }
        #expect((1..<100).contains(count))
        #expect(lines.failureCount == 200)
    }

    @Test("has the end of a session that ran beside the last one")
    func parallel() {
        var lines = PeerLogThrottle()
        #expect(lines.recordFailure("closed", since: begin, now: begin + .seconds(5)) != nil)
        #expect(lines.recordFailure("closed", since: begin, now: begin + .seconds(5)) != nil)
        #expect(
            lines.recordFailure("closed", since: begin + .seconds(6), now: begin + .seconds(7))
                == nil)
        let count = (0..<1000).count {
            let now = begin + .seconds(10) + .milliseconds($0)
            return lines.recordFailure("closed", since: begin, now: now) != nil
        }
        #expect(count == 0)
        #expect(lines.recordFailure("closed", since: begin, now: begin + .seconds(306)) != nil)
    }

    @Test("counts tries to connect apart, and a connection ends them")
    func connections() {
        var lines = PeerLogThrottle()
        #expect(lines.recordUnreached("refused", now: begin) == ["reason": "refused"])
        #expect(lines.recordUnreached("refused", now: begin + .seconds(1)) == nil)
        #expect(lines.recordConnection() == ["failures": .number(2)])
        #expect(lines.recordUnreached("refused", now: begin + .seconds(2)) != nil)
    }

    @Test("keeps a bounded number of peers, the last ones")
    func table() {
        var table = PeerLogTable()
        for number in 0...PeerLogTable.countMax {
            let now = begin + .seconds(number)
            _ = table.update("\(number)", now: now) {
                $0.recordFailure("no TLS", since: now, now: now)
            }
        }
        #expect(!table.throttle(of: "0").isFailing)
        #expect(table.throttle(of: "1").isFailing)
        #expect(table.recordSuccess("1") == 1 && table.recordSuccess("1") == 0)
    }

    @Test("a gate keeps lines back but for errors, unless all are asked for")
    func gate() {
        let seen = Mutex<[String]>([])
        func lines(_ level: Logger.Level) -> [String] {
            seen.withLock { $0 = [] }
            let gate = LogGate(isOpen: false)
            var base = Logger(label: "test") { _ in
                LineLogHandler(level: level) { line in
                    let text = line(0)
                    seen.withLock { $0.append(String(text.split(separator: " ")[2].dropLast())) }
                }
            }
            base.logLevel = level
            let logger = GatedLogHandler.gating(base, gate)
            logger.info("one")
            logger.error("two")
            gate.open()
            logger.info("three")
            return seen.withLock { $0 }
        }
        #expect(lines(.info) == ["two", "three"])
        #expect(lines(.debug) == ["one", "two", "three"])
    }
}
