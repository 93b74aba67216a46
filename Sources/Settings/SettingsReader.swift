import Addressing

/// The texts of all settings, and where each came from: options first, then the environment, then what
/// counts without either. Variables may be set to nothing, which counts as not set.
struct SettingsReader {
    private var values: [Setting: (text: String, isOption: Bool)] = [:]

    init(options: [Setting: String], environment: (String) -> String?) {
        for setting in Setting.allCases {
            if let text = options[setting] {
                values[setting] = (text, true)
            } else if let text = environment(setting.variable), !text.isEmpty {
                values[setting] = (text, false)
            } else if let text = setting.standard {
                values[setting] = (text, false)
            }
        }
    }

    func one<Value>(
        _ setting: Setting, _ read: (String) -> Value?
    ) throws(SettingFailure) -> Value {
        guard let (text, isOption) = values[setting] else {
            throw SettingFailure(setting: setting, value: nil, isOption: false)
        }
        guard let value = read(text) else {
            throw SettingFailure(setting: setting, value: text, isOption: isOption)
        }
        return value
    }

    /// The same for what need not be given at all.
    func oneOrNone<Value>(
        _ setting: Setting, _ read: (String) -> Value?
    ) throws(SettingFailure) -> Value? {
        guard let (text, _) = values[setting], !text.isEmpty else { return nil }
        return try one(setting, read)
    }

    func list<Value>(
        _ setting: Setting, atLeastOne: Bool = false, _ read: (String) -> Value?
    ) throws(SettingFailure) -> [Value] {
        var list: [Value] = []
        let (text, isOption) = values[setting] ?? ("", false)
        for part in text.split(whereSeparator: { $0 == "," || $0 == " " }) {
            guard let value = read(String(part)) else {
                throw SettingFailure(setting: setting, value: text, isOption: isOption)
            }
            list.append(value)
        }
        guard !list.isEmpty || !atLeastOne else {
            throw SettingFailure(setting: setting, value: nil, isOption: false)
        }
        return list
    }

    /// Whether there is another value than the one that counts without any.
    func isSet(_ setting: Setting) -> Bool { values[setting]?.text != setting.standard }

    /// A value that can be understood and cannot be, with the reason.
    func failure(_ setting: Setting, _ reason: String) -> SettingFailure {
        let (text, isOption) = values[setting] ?? ("", false)
        return SettingFailure(setting: setting, value: text, isOption: isOption, reason: reason)
    }
}

/// What of an agent's settings shows in the list of its edges.
package struct EdgeListSettings: Sendable {
    package let selection: EdgeSelection
    /// Where pods' names are; nil for nowhere.
    package let nameFolder: String?

    package init(
        options: [Setting: String], environment: (String) -> String?
    ) throws(SettingFailure) {
        let reader = SettingsReader(options: options, environment: environment)
        selection = try EdgeSelection(reader)
        nameFolder = try reader.one(.cniCache, Settings.nameFolder)
    }
}

extension EdgeSelection {
    /// Reads which edges are captured. Without pod networks every pod's edge counts.
    init(_ reader: SettingsReader) throws(SettingFailure) {
        self.init(
            try reader.one(.edges) { Scope(rawValue: $0) },
            podNetworks: try reader.list(.podNetworks) { IPNetwork($0) },
            included: try reader.list(.includedEdges, Self.pattern),
            excluded: try reader.list(.excludedEdges, Self.pattern))
    }
}
