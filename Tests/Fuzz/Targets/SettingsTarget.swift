import Addressing
import Linux
import Settings

/// The settings of an agent, as lines: `VARIABLE=TEXT` for the environment, `--OPTION=TEXT` for an
/// option.
///
/// What is accepted is inside its bounds, and its texts are read again as what they were. What is
/// examined ends, whatever is wrong with it, and finds no fault in what is accepted.
enum SettingsTarget {
    static let target = FuzzTarget(
        "settings", "settings of the agent: variables and options", byteCountMax: 4096, check)

    private static let byOption = Dictionary(
        uniqueKeysWithValues: Setting.all.map { ($0.option, $0) })

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var (options, environment): ([Setting: String], [String: String]) = ([:], [:])
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let name = String(line.prefix { $0 != "=" })
            let text = String(line.dropFirst(name.count + 1))
            if let setting = byOption[name] { options[setting] = text }
            environment[name] = text
        }
        let examined = ExaminedSettings(options: options) { environment[$0] }
        let settings: Settings
        do throws(SettingFailure) {
            settings = try Settings(options: options) { environment[$0] }
        } catch {
            return try require(!error.description.isEmpty, "no reason")
        }
        try require(examined.faults.isEmpty, "\(examined.faults)")
        try check(settings)
    }

    private static func check(_ settings: Settings) throws(BrokenLaw) {
        let networks = settings.podNetworks + settings.serviceNetworks + settings.uncovered
        for network in networks + (settings.passive?.allowed ?? []) {
            try require(IPNetwork("\(network)") == network, "\(network)")
        }
        for sensor in settings.sensors {
            try require(SensorName("\(sensor)", standardPort: 1) == sensor, "\(sensor)")
        }
        for address in settings.http + [settings.passive?.listen].compactMap({ $0 }) {
            try require(SocketAddress("\(address)") == address, "\(address)")
        }
        try require((1...255).contains(settings.device.utf8.count), settings.device)
        try require(
            !settings.podNetworks.isEmpty || settings.takesOnLinkPodNetworks, "no pod network")
        try require(
            !settings.sensors.isEmpty || settings.passive != nil, "neither sensors nor clients")
        let capture = settings.capture
        let memory = 1 << 20...1 << 40
        try require(
            (64...262_144).contains(capture.snaplen) && memory.contains(capture.ringByteCountMax)
                && memory.contains(capture.queueByteCountMax)
                && capture.bytesPerSecondMax.map(memory.contains) ?? true, "\(capture)")
        if let processors = capture.placement.processors {
            try require(
                ProcessorSet("\(processors)") == processors && !processors.isEmpty, "\(processors)")
        }
        for pattern in settings.edges.included + settings.edges.excluded {
            try require(
                pattern.utf8.contains { $0 != UInt8(ascii: "*") } || !pattern.isEmpty, pattern)
        }
    }
}
