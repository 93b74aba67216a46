package import Logging

import Linux

/// Makes a line of each event, and has it written.
package struct LineLogHandler: LogHandler {
    /// Writes what is made of the number of lines that were lost before this one. It may call that
    /// once, or never.
    package typealias Write = @Sendable (_ line: (_ lostCount: Int) -> String) -> Void

    package var metadata: Logger.Metadata = [:]
    package var logLevel: Logger.Level
    private let format: LogFormat
    private let write: Write

    package init(level: Logger.Level, format: LogFormat = .text, write: @escaping Write) {
        logLevel = level
        self.format = format
        self.write = write
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        write { lostCount in
            var all = metadata.merging(event.metadata ?? [:]) { $1 }
            if lostCount > 0 { all["lines_lost"] = .number(lostCount) }
            return format.line(
                time: TimeStamp.forLog(), level: event.level, message: "\(event.message)",
                metadata: all)
        }
    }
}
