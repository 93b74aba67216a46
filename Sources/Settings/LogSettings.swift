package import Log
package import Logging

/// The settings of a log, which all commands share that have one.
package struct LogSettings: Sendable {
    package let level: Logger.Level
    package let format: LogFormat

    /// Reads the options, and else the variables.
    package init(
        options: [Setting: String], environment: (String) -> String?
    ) throws(SettingFailure) {
        try self.init(SettingsReader(options: options, environment: environment))
    }

    /// The same for a log that has nothing below a level.
    package func with(leastLevel: Logger.Level) -> Self {
        Self(level: max(level, leastLevel), format: format)
    }

    private init(level: Logger.Level, format: LogFormat) {
        (self.level, self.format) = (level, format)
    }

    init(_ reader: SettingsReader) throws(SettingFailure) {
        level = try reader.one(.logLevel) { Logger.Level(rawValue: $0) }
        format = try reader.one(.logFormat) { LogFormat(rawValue: $0) }
    }
}
