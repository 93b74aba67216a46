import ArgumentParser
import Glibc
import Linux
import Logging
import Settings

/// The text that was given for a setting with its option.
struct SettingText {
    let setting: Setting
    let text: String
}

extension Option where Value == SettingText? {
    /// The option of a setting; name, help and completions are those of its row.
    ///
    /// Another help text is for a command to which the option means less than to an agent.
    init(
        _ setting: Setting, parsing: SingleValueParsingStrategy = .next,
        help: String? = nil
    ) {
        self.init(
            name: .customLong(setting.name), parsing: parsing,
            help: ArgumentHelp(help ?? setting.help, valueName: setting.form.valueName),
            completion: CompletionKind(setting.form),
            transform: { SettingText(setting: setting, text: $0) })
    }
}

extension CompletionKind {
    /// What a shell offers for a value of this form.
    init(_ form: Setting.Form) {
        self =
            switch form {
            case .words(let words): .list(words)
            case .file: .file()
            case .folder: .directory
            case .interfaces: .interfaces
            case .text: .default
            }
    }

    /// The names of the interfaces in the shell's network namespace.
    static var interfaces: Self { .shellCommand("ls /sys/class/net") }
}

/// A group of options that stand for settings.
protocol SettingOptions: ParsableArguments {
    /// The texts that were given, nil for options that were not.
    var texts: [SettingText?] { get }
}

/// The option that says where pods have their addresses.
struct PodNetworkOptions: SettingOptions {
    @Option(.podNetworks) var podNetwork: SettingText?

    var texts: [SettingText?] { [podNetwork] }
}

/// The options that select edges.
struct EdgeOptions: SettingOptions {
    @Option(.edges) var edges: SettingText?
    @Option(.includedEdges) var includeEdges: SettingText?
    @Option(.excludedEdges) var excludeEdges: SettingText?

    var texts: [SettingText?] { [edges, includeEdges, excludeEdges] }
}

/// The option that says where the names of pods are.
struct NameOptions: SettingOptions {
    @Option(.cniCache) var cniCache: SettingText?

    var texts: [SettingText?] { [cniCache] }
}

/// The options that say where edges are captured.
struct TapOptions: SettingOptions {
    @Option(.tap) var tap: SettingText?
    @Option(.namespaceFolder) var netns: SettingText?
    @Option(.opener) var opener: SettingText?

    @Flag(
        name: .customLong(Setting.podInterfaces.name),
        help: ArgumentHelp(Setting.podInterfaces.help))
    var podInterfaces = false

    var texts: [SettingText?] {
        [
            tap, netns, opener,
            podInterfaces ? SettingText(setting: .podInterfaces, text: "on") : nil,
        ]
    }
}

/// The options that have less sent than all that is reported.
struct SelectionOptions: SettingOptions {
    @Option(.filter) var filter: SettingText?
    @Option(.filterFile) var filterFile: SettingText?
    @Option(.flowSample) var flowSample: SettingText?
    @Option(.cutoff) var cutoff: SettingText?

    var texts: [SettingText?] { [filter, filterFile, flowSample, cutoff] }
}

/// The options for addresses that are not pods of this cluster, and for what is translated to pods.
struct ServiceOptions: SettingOptions {
    @Option(.serviceNetworks) var serviceNetwork: SettingText?
    @Option(.uncovered) var uncovered: SettingText?
    @Option(.services) var services: SettingText?
    @Option(.ciliumTables) var ciliumTables: SettingText?

    var texts: [SettingText?] { [serviceNetwork, uncovered, services, ciliumTables] }
}

/// The options of passive mode, in which clients dial the agent.
struct PassiveOptions: SettingOptions {
    @Option(.listen) var listen: SettingText?
    @Option(.allowed) var allow: SettingText?
    @Option(.passwordFile) var passwordFile: SettingText?

    @Flag(
        name: .customLong(Setting.nullLogin.name),
        help: ArgumentHelp(Setting.nullLogin.help))
    var allowNullLogin = false

    @Option(.dataPorts) var dataPorts: SettingText?

    var texts: [SettingText?] {
        let nullLogin = allowNullLogin ? SettingText(setting: .nullLogin, text: "on") : nil
        return [listen, allow, passwordFile, nullLogin, dataPorts]
    }
}

/// The options of TLS.
struct TLSOptions: SettingOptions {
    @Option(.tlsCertificate) var tlsCertificate: SettingText?
    @Option(.tlsKey) var tlsKey: SettingText?
    @Option(.tlsPeers) var tlsPeers: SettingText?

    var texts: [SettingText?] { [tlsCertificate, tlsKey, tlsPeers] }
}

/// The options of the log.
struct LogOptions: SettingOptions {
    @Option(.logLevel) var logLevel: SettingText?
    @Option(.logFormat) var logFormat: SettingText?

    var texts: [SettingText?] { [logLevel, logFormat] }

    /// Opens the log of a command; a quiet one has warnings and errors only.
    func open(for command: String, isQuiet: Bool = false) throws -> ProgramLog {
        let settings = try readSettings(of: command, texts) {
            options, environment throws(SettingFailure) in
            try LogSettings(options: options, environment: environment)
        }
        return try ProgramLog(
            of: command, isQuiet ? settings.with(leastLevel: .warning) : settings)
    }
}

/// Reads settings from a command's options and the environment.
///
/// A setting that cannot be understood ends the program with a line about it.
func readSettings<Value>(
    of command: String, _ texts: [SettingText?],
    _ read: ([Setting: String], (String) -> String?) throws(SettingFailure) -> Value
) throws -> Value {
    do throws(SettingFailure) {
        return try read(settingOptions(texts), environmentVariable)
    } catch {
        printMessage(of: command, "\(error)")
        throw Exit.usage
    }
}

/// Warns of variables that look like settings and are none, as every command does that reads settings.
func warnOfUnknownVariables(_ warn: (UnknownVariable) -> Void) {
    UnknownVariable.all(among: environmentNames()).forEach(warn)
}

/// Warns of such variables on standard error, where a command has no log.
func warnOfUnknownVariables(of command: String) {
    warnOfUnknownVariables { printMessage(of: command, "\($0)") }
}

/// The texts that were given, by their settings.
func settingOptions(_ texts: [SettingText?]) -> [Setting: String] {
    Dictionary(
        uniqueKeysWithValues: texts.compactMap { given in given.map { ($0.setting, $0.text) } })
}
