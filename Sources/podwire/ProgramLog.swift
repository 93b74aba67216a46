import Formats
import Glibc
import Linux
import Log
import Logging
import Settings
import Terminal
import Time

/// The log of a command, on standard error.
struct ProgramLog: Sendable {
    let logger: Logger
    let format: LogFormat
    private let command: String
    private let writer: LogWriter

    /// The longest time that the end of the program waits for a reader of the log.
    private static let flushMilliseconds: UInt64 = 300

    /// A log of a command such as `"agent"`.
    init(of command: String, _ settings: LogSettings) throws(SystemError) {
        let writer = try LogWriter(to: STDERR_FILENO)
        (self.command, self.writer, format) = (command, writer, settings.format)
        logger = Logger(label: "podwire") { _ in
            LineLogHandler(level: settings.level, format: settings.format) { writer.write($0) }
        }
    }

    /// Warns of variables that look like settings and are none.
    func warnOfUnknownVariables() {
        podwire.warnOfUnknownVariables { logger.warning("\($0)") }
    }

    /// Writes why the program ends, at any log level.
    ///
    /// In text format the line begins with the program's name, as those of other programs do.
    func fail(_ reason: String) {
        writer.write { _ in
            format == .text
                ? "podwire \(command): \(reason)\n"
                : format.line(
                    time: TimeStamp.forLog(), level: .critical, message: reason, metadata: [:])
        }
    }

    /// Writes what may help, when the command has ended.
    func hint(_ text: String) {
        if format == .json { return logger.info("\(text)") }
        let window = Window(of: STDERR_FILENO)
        show(window.width == nil ? text + "\n" : window.paragraph(text))
    }

    /// Writes what is no line of the log, such as a table on a terminal, between its lines.
    func show(_ text: String) { writer.show(text) }

    /// Waits until all is written, 0.3 s at most.
    func flush() { writer.flush(until: .now + .milliseconds(Self.flushMilliseconds)) }
}
