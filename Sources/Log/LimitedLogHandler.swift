package import Logging

import Linux
import Synchronization

/// Passes on as many lines as a budget allows: for lines that peers cause, or pods by coming and going, who
/// must not fill a disk.
package struct LimitedLogHandler: LogHandler {
    private var base: any LogHandler
    private let budget: LogBudget

    private init(_ base: any LogHandler, _ budget: LogBudget) {
        (self.base, self.budget) = (base, budget)
    }

    /// The same logger, within a budget of its own; copies of it share that. So many lines can come at
    /// once, and ten a second in the long run.
    package static func limiting(
        _ logger: Logger, lineCountMax: Int = lineCountMaxOfPeers
    ) -> Logger {
        var logger = logger
        logger.handler = Self(logger.handler, LogBudget(lineCountMax))
        return logger
    }

    /// More than an agent with its clients has to say when it starts.
    package static let lineCountMaxOfPeers = 200

    package var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }

    package var logLevel: Logger.Level {
        get { base.logLevel }
        set { base.logLevel = newValue }
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    package func log(event: LogEvent) {
        guard let leftOutCount = budget.take(now: monotonicNanoseconds()) else { return }
        var handler = base
        if leftOutCount > 0 { handler[metadataKey: "lines_left_out"] = .number(leftOutCount) }
        handler.log(event: event)
    }
}

/// Some lines at once, and then so many a second.
private final class LogBudget: Sendable {
    private let state: Mutex<(lineCount: Int, leftOutCount: Int, time: UInt64)>
    private let lineCountMax: Int

    private static let nanosecondsPerLine: UInt64 = 100_000_000

    init(_ lineCountMax: Int) {
        self.lineCountMax = lineCountMax
        state = Mutex((lineCount: lineCountMax, leftOutCount: 0, time: 0))
    }

    /// Takes a line. Answers how many were left out before it, or nil if this one is to be, too.
    func take(now: UInt64) -> Int? {
        state.withLock { state in
            let earned = (now - min(now, state.time)) / Self.nanosecondsPerLine
            if earned > 0 {
                state.lineCount = min(lineCountMax, state.lineCount + Int(clamping: earned))
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
