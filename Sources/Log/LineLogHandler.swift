import Linux
package import Logging

/// A log handler that makes a line of each event.
package struct LineLogHandler: LogHandler {
    /// Writes a line.
    ///
    /// It calls `line` once or never, with the number of lines lost before this one.
    package typealias Write = @Sendable (_ line: (_ lostCount: Int) -> String) -> Void

    /// The metadata of every line.
    package var metadata: Logger.Metadata = [:]
    /// The lowest level that is written.
    package var logLevel: Logger.Level
    private let format: LogFormat
    private let write: Write

    /// A handler without metadata.
    package init(level: Logger.Level, format: LogFormat = .text, write: @escaping Write) {
        logLevel = level
        self.format = format
        self.write = write
    }

    /// A value of the metadata.
    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes an event as a line.
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
