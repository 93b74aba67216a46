import Glibc
import Linux
import Log
import Logging
import Settings
import Time

/// The agent's log, on standard error.
struct AgentLog: Sendable {
    let logger: Logger
    private let writer: LogWriter
    private let format: LogFormat

    /// The longest time that the end of the program waits for a reader of the log.
    private static let flushMilliseconds: UInt64 = 300

    init(_ settings: Settings) throws(SystemError) {
        let writer = try LogWriter(to: STDERR_FILENO)
        self.writer = writer
        format = settings.logFormat
        logger = Logger(label: "podwire") { _ in
            LineLogHandler(level: settings.logLevel, format: settings.logFormat) {
                writer.write($0)
            }
        }
    }

    /// Writes why the agent ends, at any log level.
    ///
    /// In text format the line begins with the program's name, as those of other programs do.
    func fail(_ reason: String) {
        writer.write { _ in
            format == .text
                ? "podwire agent: \(reason)\n"
                : format.line(
                    time: TimeStamp.forLog(), level: .critical, message: reason, metadata: [:])
        }
    }

    func flush() { writer.flush(until: .now + .milliseconds(Self.flushMilliseconds)) }
}
