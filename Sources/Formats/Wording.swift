/// Pieces of sentences for people.
package enum Wording {
    /// The first three texts and the number of the others: `"a, b, c and 4 more"`.
    package static func few(_ texts: some Collection<String>) -> String {
        let shown = texts.prefix(fewCountMax).joined(separator: ", ")
        return texts.count > fewCountMax ? "\(shown) and \(texts.count - fewCountMax) more" : shown
    }

    private static let fewCountMax = 3

    /// A number of things whose plural is regular: `"1 edge"`, `"2 edges"`.
    package static func count(_ count: Int, _ name: String) -> String {
        "\(count) \(name)\(count == 1 ? "" : "s")"
    }

    /// A number of things with the words that it changes: `"1 packet is"`, `"2 packets are"`.
    package static func count(_ count: Int, one: String, more: String) -> String {
        "\(count) \(count == 1 ? one : more)"
    }

    /// The text with a question mark for each invisible character.
    package static func visible(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: \.isInvisible) else { return text }
        return String(text.unicodeScalars.map { $0.isInvisible ? "?" : Character($0) })
    }

    /// The text with spaces behind it, as wide as asked for or wider.
    package static func padded(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
