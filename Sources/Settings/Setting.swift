/// A setting of the agent: one row of the table of settings.
///
/// Each setting has an option and a variable of the environment; the option wins. Help texts, shell
/// completions, error messages and the documentation are made from the rows.
package struct Setting: Hashable, Sendable {
    /// The variable of the environment.
    package let variable: String
    /// The option with its dashes.
    package let option: String
    package let standard: Default
    package let form: Form
    /// What the setting does, in Markdown, as the rest of a table's row.
    package let meaning: String

    /// The value of a setting that is not given.
    package enum Default: Hashable, Sendable {
        case value(String)
        /// There is no value; the word says what that amounts to.
        case unset(String)
        /// A value has to be given; the words say when.
        case required(String)
    }

    /// What a value looks like, and so what a shell can complete.
    package enum Form: Hashable, Sendable, CustomStringConvertible {
        case words([String])
        case file(String)
        case folder(String, orOff: Bool = false)
        case interfaces(String)
        /// A text that no shell can complete, with the word that stands for it in a help text.
        case text(String, String)

        /// The form as the end of the sentence "it takes …".
        package var description: String {
            switch self {
            case .words(let words): Setting.alternatives(words)
            case .folder(let text, let isOptional): isOptional ? "\(text), or off" : text
            case .file(let text), .interfaces(let text), .text(_, let text): text
            }
        }

        /// What stands for a value in a help text: `"pods|all"`, `"FILE"`.
        package var valueName: String {
            switch self {
            case .words(let words): words.joined(separator: "|")
            case .file: "FILE"
            case .folder(_, let isOptional): isOptional ? "FOLDER|off" : "FOLDER"
            case .interfaces: "NAMES"
            case .text(let name, _): name
            }
        }
    }

    init(
        _ variable: String, _ option: String, _ standard: Default, _ form: Form, _ meaning: String
    ) {
        (self.variable, self.option, self.standard) = (variable, option, standard)
        (self.form, self.meaning) = (form, meaning)
    }

    /// The option without its dashes.
    package var name: String { String(option.drop { $0 == "-" }) }

    /// The option's help text: the meaning as a sentence, the variable and the default.
    package var help: String {
        let plain = meaning.filter { $0 != "`" }
        // A value that begins the sentence stays as it has to be typed.
        let sentence =
            meaning.hasPrefix("`") ? plain : plain.prefix(1).uppercased() + plain.dropFirst()
        return help("\(sentence).")
    }

    /// The help text with other sentences, for a command to which the option means something else.
    package func help(_ sentences: String) -> String {
        let rest =
            switch standard {
            case .value(let value): ", default \(value)"
            case .unset(Self.empty): ""
            case .unset(let word): ", default: \(word)"
            case .required(let words): ", \(words.filter { $0 != "`" })"
            }
        return "\(sentences) (\(variable)\(rest))"
    }

    /// The word for a list or a text that is not given.
    static let empty = "empty"

    /// Joins words for a choice: `"a, b or c"`.
    static func alternatives(_ words: [String]) -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " or \(last)"
    }
}

/// A setting that is missing or that cannot be understood, said in one line.
///
/// The line has the name of the setting, its value, and what would be right.
package struct SettingFailure: Error, Equatable, CustomStringConvertible {
    package let setting: Setting
    private let fault: Fault

    /// What is wrong with a setting.
    enum Fault: Equatable {
        /// The setting has to be given, and is not.
        case missing
        /// The value has another form; the text says what is wrong with it, if that is known.
        case misunderstood(GivenText, String?)
        /// The value has the right form, and cannot be used; the text says why and what to do.
        case unusable(GivenText, String)
    }

    /// Whether the value has the right form, and cannot be used beside those of others.
    var isOfCombination: Bool { if case .unusable = fault { true } else { false } }

    init(_ setting: Setting, _ fault: Fault) { (self.setting, self.fault) = (setting, fault) }

    package var description: String {
        switch fault {
        case .missing:
            let other = setting == .sensors ? "; or give \(Setting.listen.option) for clients" : ""
            return "\(setting.variable) is not set: give it or \(setting.option); "
                + "it takes \(setting.form)\(other)"
        case .misunderstood(let given, let reason):
            let value = given.isOption ? "\(setting.option) \(given.text)" : assignment(given)
            let prefix = reason.map { "\($0); " } ?? ""
            return "\(value) cannot be understood: \(prefix)it takes \(setting.form)"
        case .unusable(let given, let reason):
            return "\(assignment(given)): \(reason)"
        }
    }

    private func assignment(_ given: GivenText) -> String {
        "\(given.isOption ? setting.option : setting.variable)=\(given.text)"
    }
}

/// The text of a setting, and whether it came with the option.
struct GivenText: Equatable {
    let text: String
    let isOption: Bool
}
