import Settings
import Glibc
import Linux
import Log
import Logging
import Time

/// An agent's log, on standard error.
struct AgentLog: Sendable {
    let logger: Logger
    private let writer: LogWriter
    private let format: LogFormat

    /// How long the end of the program waits for a reader.
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

    /// Says why the agent ends: whatever the level is, and to a person as other programs do.
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
