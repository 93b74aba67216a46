/// The settings of an agent that count for its opener, too.
package struct OpenerSettings: Sendable {
    /// The path of the socket at which the opener listens.
    package let socket: String
    /// Whether sockets are opened for interfaces that have no end in the node.
    package let opensPodInterfaces: Bool
    package let log: LogSettings

    package init(
        options: [Setting: String], environment: (String) -> String?
    ) throws(SettingFailure) {
        let reader = SettingsReader(options: options, environment: environment)
        let taps = try TapSettings(reader)
        (socket, opensPodInterfaces) = (taps.opener, taps.includesPodInterfaces)
        log = try LogSettings(reader)
    }
}
