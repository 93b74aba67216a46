extension Wording {
    /// The lines of a text that is broken between words.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - width: The width of a line in characters; a longer word is not broken.
    ///   - indent: The number of spaces before each line but the first.
    /// - Returns: The lines, at least one, without line ends.
    package static func lines(_ text: String, width: Int, hanging indent: Int = 0) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                line = String(repeating: " ", count: indent) + word
            } else {
                line += line.isEmpty ? word : " \(word)"
            }
        }
        return lines + [line]
    }
}
