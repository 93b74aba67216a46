import ArgumentParser
import Linux
import Settings

/// The options without which no agent starts.
struct RequiredOptions: SettingOptions {
    @Option(.sensors) var sensor: SettingText?
    @OptionGroup var podNetworks: PodNetworkOptions

    var texts: [SettingText?] { [sensor] + podNetworks.texts }
}

/// The options for all settings of an agent.
struct AgentOptions: SettingOptions {
    @OptionGroup(title: "Required") var required: RequiredOptions
    @Option(.sensorPort) var sensorPort: SettingText?
    @Option(.sensorPolicy) var sensorPolicy: SettingText?
    @Option(.nodeName) var nodeName: SettingText?
    @OptionGroup(title: "Edges") var edges: EdgeOptions
    @OptionGroup(title: "Edges") var names: NameOptions
    @OptionGroup(title: "Taps") var taps: TapOptions
    @OptionGroup(title: "Other addresses") var services: ServiceOptions
    @OptionGroup(title: "Passive mode") var passive: PassiveOptions
    @OptionGroup(title: "TLS") var tls: TLSOptions
    @Option(.device) var device: SettingText?
    @Option(.deduplication) var dedup: SettingText?
    @Option(.frames) var frames: SettingText?
    @Option(.snaplen) var snaplen: SettingText?
    @OptionGroup(title: "Less than everything") var selection: SelectionOptions
    @Option(.udpFormat) var udpFormat: SettingText?
    @Option(.ringMemory) var ringMemory: SettingText?
    @Option(.queueMemory) var queueMemory: SettingText?
    @Option(.rateLimit) var rateLimit: SettingText?
    @Option(.processors) var cpus: SettingText?
    // Its value may begin with a dash.
    @Option(.niceness, parsing: .unconditional) var nice: SettingText?
    @Option(.http) var http: SettingText?
    @Option(.handover) var handover: SettingText?
    @Option(.revision) var revision: SettingText?
    @Option(.logLevel) var logLevel: SettingText?
    @Option(.logFormat) var logFormat: SettingText?

    var texts: [SettingText?] {
        let groups =
            required.texts + edges.texts + names.texts + taps.texts + services.texts + passive.texts
            + tls.texts
            + selection.texts
        return groups + [
            sensorPort, sensorPolicy, nodeName, device, dedup, frames, snaplen, udpFormat,
            ringMemory,
            queueMemory, rateLimit, cpus, nice, http, handover, revision, logLevel, logFormat,
        ]
    }

    /// Reads the settings of an agent, or ends the program with a line about what is wrong.
    func readSettings(for command: String) throws -> Settings {
        try podwire.readSettings(of: command, checkedTexts) {
            options, environment throws(SettingFailure) in
            try Settings(options: options, environment: environment)
        }
    }

    /// The settings as far as they can be understood, with what is wrong with the others.
    func examinedSettings() -> ExaminedSettings {
        ExaminedSettings(
            options: settingOptions(checkedTexts), variables: environmentNames(),
            environment: environmentVariable)
    }

    private var checkedTexts: [SettingText?] {
        precondition(texts.count == Setting.all.count, "an option is not read")
        return texts
    }
}
