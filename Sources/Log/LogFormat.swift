import Formats
package import Logging

/// The format of the log's lines.
package enum LogFormat: String, Sendable {
    /// Time, level, message, then key=value in the order of the keys.
    case text
    /// A JSON object with the members `time`, `level` and `message`, and one for each key.
    case json

    /// The longest message or value, since some come from peers.
    private static let scalarCountMax = 4096

    /// Formats a line with its end.
    ///
    /// Nothing in its parts can begin a line of its own.
    package func line(
        time: String, level: Logger.Level, message: String, metadata: Logger.Metadata
    ) -> String {
        let pairs = metadata.sorted { $0.key < $1.key }
        switch self {
        case .text:
            let values = pairs.map { " \($0.key)=\(Self.quoted(Self.short("\($0.value)")))" }
            return "\(time) \(level) \(Self.plain(Self.short(message)))\(values.joined())\n"
        case .json:
            let own = [("time", time), ("level", "\(level)"), ("message", Self.short(message))]
            let names = Set(own.map { $0.0 })
            let members =
                own.map { ($0.0, JSON.text($0.1)) }
                + pairs.filter { !names.contains($0.key) }.map { ($0.key, Self.json($0.value)) }
            return JSON.object(members).text + "\n"
        }
    }

    /// A value as JSON.
    ///
    /// Only what was given as a number becomes one. A text that looks like one, as a user's name may,
    /// stays a text, so that a member always has the same type.
    private static func json(_ value: Logger.MetadataValue) -> JSON {
        switch value {
        case .string(let text): .text(short(text))
        case .stringConvertible(let value):
            (value as? any BinaryInteger).map { .number(Int(clamping: $0)) }
                ?? .text(short("\(value)"))
        case .dictionary(let values):
            .object(values.sorted { $0.key < $1.key }.map { ($0.key, json($0.value)) })
        case .array(let values): .array(values.map(json))
        }
    }

    private static func short(_ text: String) -> String {
        guard text.utf8.count > scalarCountMax else { return text }
        // A character can consist of any number of scalars.
        let scalars = text.unicodeScalars
        guard scalars.dropFirst(scalarCountMax).first != nil else { return text }
        return String(scalars.prefix(scalarCountMax)) + "..."
    }

    /// A value, in quotes if it has a space, a quote, an equals sign or an invisible character.
    private static func quoted(_ value: String) -> String {
        let needsQuotes = value.unicodeScalars.contains {
            $0 == " " || $0 == "\"" || $0 == "=" || $0.isInvisible
        }
        if !needsQuotes, !value.isEmpty { return value }
        let escaped = value.unicodeScalars.map { scalar -> String in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case "\n": "\\n"
            default: scalar.isInvisible ? "?" : String(scalar)
            }
        }
        return "\"\(escaped.joined())\""
    }

    private static func plain(_ message: String) -> String {
        guard message.unicodeScalars.contains(where: \.isInvisible) else { return message }
        return String(message.unicodeScalars.map { $0.isInvisible ? " " : Character($0) })
    }
}

extension Logger.MetadataValue {
    /// A number, which stays one in JSON.
    package static func number(
        _ value: some BinaryInteger & CustomStringConvertible & Sendable
    ) -> Self {
        .stringConvertible(value)
    }
}
