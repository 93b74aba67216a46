import Log
import Logging
import Synchronization
import Testing
import Time

@Suite("A limited log")
struct LimitedLogHandlerTests {
    private final class Lines: Sendable {
        let texts = Mutex<[String]>([])
    }

    private final class Clock: Sendable {
        let now = Mutex(MonotonicTime(nanoseconds: 1))
    }

    @Test(
        "passes on as many lines as it may, and says how many it has left out", arguments: [1, 50])
    func limit(lineCountMax: Int) throws {
        let lines = Lines()
        let clock = Clock()
        let whole = Logger(label: "test") { _ in
            LineLogHandler(level: .info, format: .json) { line in
                lines.texts.withLock { $0.append(line(0)) }
            }
        }
        var logger = LimitedLogHandler.limiting(
            whole, lineCountMax: lineCountMax, now: { clock.now.withLock { $0 } })
        logger[metadataKey: "sensor"] = "s"
        for number in 0..<1000 { logger.info("\(number)") }
        logger.debug("not at this level")
        #expect(lines.texts.withLock { $0.count } == lineCountMax)
        clock.now.withLock { $0 += .milliseconds(250) }
        logger.info("later", metadata: ["key": .number(7)])
        let last = try #require(lines.texts.withLock { $0.last })
        let leftOutCount = 1000 - lineCountMax
        #expect(
            last.contains(
                #""message": "later", "key": 7, "lines_left_out": \#(leftOutCount), "sensor": "s""#)
        )
        // Ten lines are earned in a second.
        clock.now.withLock { $0 += .seconds(1) }
        for number in 0..<1000 { logger.info("\(number)") }
        #expect(lines.texts.withLock { $0.count } == lineCountMax + 1 + min(lineCountMax, 11))
    }
}
