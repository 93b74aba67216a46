package import Log
package import Logging

/// The settings of an agent that count for its opener, too.
package struct OpenerSettings: Sendable {
    /// The path of the socket at which the opener listens.
    package let socket: String
    /// Whether sockets are opened for interfaces that have no end in the node.
    package let opensPodInterfaces: Bool
    package let logLevel: Logger.Level
    package let logFormat: LogFormat

    package init(
        options: [Setting: String], environment: (String) -> String?
    ) throws(SettingFailure) {
        let reader = SettingsReader(options: options, environment: environment)
        let taps = try TapSettings(reader)
        (socket, opensPodInterfaces) = (taps.opener, taps.includesPodInterfaces)
        logLevel = try reader.one(.logLevel) { Logger.Level(rawValue: $0) }
        logFormat = try reader.one(.logFormat) { LogFormat(rawValue: $0) }
    }
}
