import Log
import Logging
import Testing

@Suite("A failure that happens again and again")
struct RecurrenceTests {
    private static let second: UInt64 = 1_000_000_000

    @Test("is told at once, and then every five minutes with its count")
    func told() {
        var failure = Recurrence()
        var told: [(second: UInt64, metadata: Logger.Metadata)] = []
        for second in 0..<UInt64(1000) {
            let now = 7 + second * Self.second
            if let metadata = failure.failed("refused", now: now) {
                told.append((second, metadata))
            }
        }
        #expect(told.map(\.second) == [0, 300, 600, 900])
        #expect(told[0].metadata == ["reason": "refused"])
        #expect(told[3].metadata["reason"] == "refused")
        #expect("\(told[3].metadata["failures"] ?? "")" == "901")
        #expect("\(told[3].metadata["since_seconds"] ?? "")" == "900")
    }

    @Test("is told when it has another reason, but not when that alternates")
    func reasons() {
        var failure = Recurrence()
        let told = (0..<100).filter { failure.failed("\($0 % 3)", now: UInt64($0)) != nil }
        #expect(told == [0, 1, 2])
        #expect(failure.failed("3", now: 200) != nil)
    }

    @Test("is not told for ever, however many reasons it finds")
    func manyReasons() {
        var failure = Recurrence()
        let told = (0..<1000).filter { failure.failed("\($0)", now: UInt64($0)) != nil }
        #expect(told.count == 8)
    }

    @Test("is a new one when it was over")
    func end() {
        var failure = Recurrence()
        _ = failure.failed("refused", now: 1)
        _ = failure.failed("refused", now: 2)
        #expect(failure.isGoingOn && failure.end() == 2)
        #expect(!failure.isGoingOn && failure.end() == 0)
        #expect(failure.failed("refused", now: 3) == ["reason": "refused"])
    }
}
