extension Wording {
    /// The lines of a text that is broken between words.
    ///
    /// - Parameters:
    ///   - text: The text.
    ///   - width: The width of a line in characters.
    ///   - indent: The number of spaces before each line but the first.
    ///   - breaksWords: Whether a word that is longer than a line is broken, too.
    /// - Returns: The lines, at least one, without line ends.
    package static func lines(
        _ text: String, width: Int, hanging indent: Int = 0, breaksWords: Bool = false
    ) -> [String] {
        let pad = String(repeating: " ", count: indent)
        var lines: [String] = []
        var (line, hasWord) = ("", false)
        for word in text.split(separator: " ") {
            if hasWord, line.count + 1 + word.count > width {
                lines.append(line)
                (line, hasWord) = (pad, false)
            }
            if hasWord { line += " " }
            var rest = word
            while breaksWords, line.count < width, line.count + rest.count > width {
                let room = width - line.count
                lines.append(line + rest.prefix(room))
                rest = rest.dropFirst(room)
                line = indent < width ? pad : ""
            }
            line += rest
            hasWord = true
        }
        return lines + [line]
    }
}
