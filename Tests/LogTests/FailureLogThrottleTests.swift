import Log
import Logging
import Testing
import Time

@Suite("A throttle for the log lines of a failure")
struct FailureLogThrottleTests {
    private static let begin = MonotonicTime(nanoseconds: 7)

    @Test("logs the first failure, and then every five minutes their number")
    func interval() {
        var failure = FailureLogThrottle()
        var logged: [(second: Int, metadata: Logger.Metadata)] = []
        for second in 0..<1000 {
            let now = Self.begin + .seconds(second)
            if let metadata = failure.recordFailure("refused", now: now) {
                logged.append((second, metadata))
            }
        }
        #expect(logged.map(\.second) == [0, 300, 600, 900])
        #expect(logged[0].metadata == ["reason": "refused"])
        #expect(logged[3].metadata["reason"] == "refused")
        #expect("\(logged[3].metadata["failures"] ?? "")" == "901")
        #expect("\(logged[3].metadata["since_seconds"] ?? "")" == "900")
    }

    @Test("logs another reason at once, but not when reasons alternate")
    func reasons() {
        var failure = FailureLogThrottle()
        let logged = (0..<100).filter {
            failure.recordFailure("\($0 % 3)", now: Self.begin + .nanoseconds($0)) != nil
        }
        #expect(logged == [0, 1, 2])
        #expect(failure.recordFailure("3", now: Self.begin + .nanoseconds(200)) != nil)
    }

    @Test("does not log for ever, however many reasons there are")
    func manyReasons() {
        var failure = FailureLogThrottle()
        let logged = (0..<1000).filter {
            failure.recordFailure("\($0)", now: Self.begin + .nanoseconds($0)) != nil
        }
        #expect(logged.count == 8)
    }

    @Test("starts over after a success")
    func success() {
        var failure = FailureLogThrottle()
        _ = failure.recordFailure("refused", now: Self.begin)
        _ = failure.recordFailure("refused", now: Self.begin + .nanoseconds(1))
        #expect(failure.isFailing && failure.recordSuccess() == 2)
        #expect(!failure.isFailing && failure.recordSuccess() == 0)
        let metadata = failure.recordFailure("refused", now: Self.begin + .nanoseconds(2))
        #expect(metadata == ["reason": "refused"])
    }
}
