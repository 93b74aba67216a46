package import Log
package import Logging

/// The settings of an agent that count for its opener, too.
package struct OpenerSettings: Sendable {
    package let logLevel: Logger.Level
    package let logFormat: LogFormat

    package init(
        options: [Setting: String], environment: (String) -> String?
    ) throws(SettingFailure) {
        let reader = SettingsReader(options: options, environment: environment)
        logLevel = try reader.one(.logLevel) { Logger.Level(rawValue: $0) }
        logFormat = try reader.one(.logFormat) { LogFormat(rawValue: $0) }
    }
}
