/// Phrases that messages to people have in common.
package enum Wording {
    private static let fewCountMax = 3

    /// Returns the first few of many texts: "a, b, c and 4 more".
    package static func few(_ texts: some Collection<String>) -> String {
        let shown = texts.prefix(fewCountMax).joined(separator: ", ")
        return texts.count > fewCountMax ? "\(shown) and \(texts.count - fewCountMax) more" : shown
    }

    /// Returns a number with its noun: "1 edge", "2 edges".
    package static func count(_ count: Int, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }

    /// Returns a size in whole mebibytes: "256 MiB".
    package static func mebibytes(_ byteCount: Int) -> String { "\(byteCount >> 20) MiB" }
}
