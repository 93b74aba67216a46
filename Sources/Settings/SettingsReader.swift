/// Reads settings from options, then from the environment, then from the table's defaults.
///
/// An empty variable counts as not set, though it can be told from one that is not there.
struct SettingsReader {
    private var texts: [Setting: GivenText] = [:]
    private var emptyVariables: Set<Setting> = []

    init(options: [Setting: String], environment: (String) -> String?) {
        for setting in Setting.all {
            let variable = environment(setting.variable)
            if let text = options[setting] {
                texts[setting] = GivenText(text: text, isOption: true)
            } else if let variable, !variable.isEmpty {
                texts[setting] = GivenText(text: variable, isOption: false)
            } else if variable != nil {
                emptyVariables.insert(setting)
            }
        }
    }

    /// Takes a setting as one that is not given.
    mutating func forget(_ setting: Setting) { texts[setting] = nil }

    /// The text with which a setting was given; nil for one that has its default.
    func text(of setting: Setting) -> GivenText? { texts[setting] }

    /// Whether a setting's variable is there and empty, and its option is not given.
    func isEmptyVariable(_ setting: Setting) -> Bool { emptyVariables.contains(setting) }

    private func given(_ setting: Setting) -> GivenText? {
        precondition(Setting.all.contains(setting), "\(setting.option) is not in Setting.all")
        if let text = texts[setting] { return text }
        guard case .value(let text) = setting.standard else { return nil }
        return GivenText(text: text, isOption: false)
    }

    /// Reads the value of a setting that has to be there; `read` returns nil for another form.
    func one<Value>(
        _ setting: Setting, _ read: (String) -> Value?
    ) throws(SettingFailure) -> Value {
        guard let given = given(setting) else { throw SettingFailure(setting, .missing) }
        guard let value = read(given.text) else {
            throw SettingFailure(setting, .misunderstood(given, nil))
        }
        return value
    }

    /// Reads the value of a setting, or returns nil if it is not given or empty.
    func oneOrNone<Value>(
        _ setting: Setting, _ read: (String) -> Value?
    ) throws(SettingFailure) -> Value? {
        guard let given = given(setting), !given.text.isEmpty else { return nil }
        return try one(setting, read)
    }

    /// Reads values separated by commas or spaces; none if the setting is not given.
    func list<Value>(
        _ setting: Setting, atLeastOne: Bool = false, _ read: (String) -> Value?
    ) throws(SettingFailure) -> [Value] {
        var list: [Value] = []
        if let given = given(setting) {
            for part in given.text.split(whereSeparator: { $0 == "," || $0 == " " }) {
                guard let value = read(String(part)) else {
                    throw SettingFailure(setting, .misunderstood(given, nil))
                }
                list.append(value)
            }
        }
        guard !list.isEmpty || !atLeastOne else { throw SettingFailure(setting, .missing) }
        return list
    }

    /// Reads values separated by commas or spaces, with a function that says what is wrong with one.
    func list<Value, Failure: Error & CustomStringConvertible>(
        _ setting: Setting, atLeastOne: Bool = false,
        explaining read: (String) throws(Failure) -> Value
    ) throws(SettingFailure) -> [Value] {
        var reason: String?
        do throws(SettingFailure) {
            return try list(setting, atLeastOne: atLeastOne) { part -> Value? in
                do throws(Failure) {
                    return try read(part)
                } catch {
                    reason = "\(error)"
                    return nil
                }
            }
        } catch {
            guard let reason, let given = given(setting) else { throw error }
            throw SettingFailure(setting, .misunderstood(given, reason))
        }
    }

    /// Reads `on` or `off`.
    func isOn(_ setting: Setting) throws(SettingFailure) -> Bool {
        try one(setting) { ["on": true, "off": false][$0] }
    }

    /// Whether a setting has another value than its default.
    func isSet(_ setting: Setting) -> Bool {
        given(setting).map { setting.standard != .value($0.text) } ?? false
    }

    /// A failure of a setting whose value has the right form and cannot be used.
    ///
    /// The reason says why, and what to do about it.
    func failure(_ setting: Setting, _ reason: String) -> SettingFailure {
        let given = given(setting) ?? GivenText(text: "", isOption: false)
        return SettingFailure(setting, .unusable(given, reason))
    }
}
