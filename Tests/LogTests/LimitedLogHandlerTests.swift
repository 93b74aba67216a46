import Log
import Logging
import Synchronization
import Testing

@Suite("A limited log")
struct LimitedLogHandlerTests {
    private final class Lines: Sendable {
        let texts = Mutex<[String]>([])
    }

    @Test(
        "passes on as many lines as it may, and says how many it has left out", arguments: [1, 50])
    func limit(lineCountMax: Int) async throws {
        let lines = Lines()
        let whole = Logger(label: "test") { _ in
            LineLogHandler(level: .info, format: .json) { line in
                lines.texts.withLock { $0.append(line(0)) }
            }
        }
        var logger = LimitedLogHandler.limiting(whole, lineCountMax: lineCountMax)
        logger[metadataKey: "sensor"] = "s"
        for number in 0..<1000 { logger.info("\(number)") }
        logger.debug("not at this level")
        let count = lines.texts.withLock { $0.count }
        // A slow machine may have earned a line meanwhile.
        #expect((lineCountMax...lineCountMax + 20).contains(count))
        try await Task.sleep(for: .milliseconds(250))
        logger.info("later", metadata: ["key": .number(7)])
        let last = try #require(lines.texts.withLock { $0.last })
        #expect(last.contains(#""message": "later", "key": 7, "lines_left_out": "#))
        #expect(last.contains(#""sensor": "s""#))
    }
}
