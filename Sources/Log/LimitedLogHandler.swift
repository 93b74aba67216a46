import Linux
package import Logging
import Synchronization
package import Time

/// A log handler that passes on as many lines as a budget allows.
///
/// It is for lines that peers cause, or pods by coming and going, which must not fill a disk.
package struct LimitedLogHandler: LayeredLogHandler {
    package var base: any LogHandler
    private let budget: LogBudget
    private let now: @Sendable () -> MonotonicTime

    /// A logger with a budget of its own, which copies of it share.
    ///
    /// - Parameters:
    ///   - logger: The logger to limit.
    ///   - lineCountMax: The most lines at once. In the long run there are ten a second.
    ///   - now: The clock.
    /// - Returns: The limited logger.
    package static func limiting(
        _ logger: Logger, lineCountMax: Int = lineCountMaxOfPeers,
        now: @escaping @Sendable () -> MonotonicTime = { .now }
    ) -> Logger {
        var logger = logger
        logger.handler = Self(base: logger.handler, budget: LogBudget(lineCountMax), now: now)
        return logger
    }

    /// The most lines at once by default: more than an agent with its clients writes at its start.
    package static let lineCountMaxOfPeers = 200

    /// Passes on an event if the budget allows, with the number of those left out before it.
    package func log(event: LogEvent) {
        guard let leftOutCount = budget.take(now: now()) else { return }
        var handler = base
        if leftOutCount > 0 { handler[metadataKey: "lines_left_out"] = .number(leftOutCount) }
        handler.log(event: event)
    }
}

/// A token bucket for lines of a log.
private final class LogBudget: Sendable {
    private let state: Mutex<(lineCount: Int, leftOutCount: Int, time: MonotonicTime)>
    private let lineCountMax: Int

    private static let timePerLine = Duration.milliseconds(100)

    init(_ lineCountMax: Int) {
        self.lineCountMax = lineCountMax
        state = Mutex((lineCount: lineCountMax, leftOutCount: 0, time: .zero))
    }

    /// Takes a line from the budget.
    ///
    /// - Returns: The number of lines left out before it, or nil if this one is left out as well.
    func take(now: MonotonicTime) -> Int? {
        state.withLock { state in
            let earned = Int((now - state.time) / Self.timePerLine)
            if earned > 0 {
                state.lineCount = min(lineCountMax, state.lineCount + earned)
                state.time = now
            }
            guard state.lineCount > 0 else {
                state.leftOutCount += 1
                return nil
            }
            state.lineCount -= 1
            defer { state.leftOutCount = 0 }
            return state.leftOutCount
        }
    }
}
