/// The reason for which a filter is refused, and the place in its text.
package struct FilterError: Error, Equatable, CustomStringConvertible {
    /// What is wrong, and what would be right.
    package let reason: String
    /// The bytes of the text that are meant.
    package let range: Range<Int>

    init(_ reason: String, at range: Range<Int>) {
        (self.reason, self.range) = (reason, range)
    }

    package var description: String { reason }

    /// The most bytes of a place that are shown.
    private static let contextMax = 30
    /// The most bytes of a text in the line above the carets: with dots and an indent it fits 60 columns.
    private static let excerptMax = 52
    /// The most bytes of a word that a reason repeats.
    private static let wordByteCountMax = 40

    /// Three lines: the reason, the part of a text with the place, and carets below it.
    ///
    /// - Parameter text: The text that was refused.
    /// - Returns: The lines; the first one has the line's number if the text has several.
    package func text(in text: String) -> String {
        let bytes = Array(text.utf8)
        let place = Place(of: range, in: bytes)
        let (start, end) = (place.range.lowerBound, place.range.upperBound)
        let context = (Self.excerptMax - min(end - start, Self.contextMax)) / 2
        let first = max(place.line.lowerBound, start - context)
        let last = min(place.line.upperBound, min(end, start + Self.contextMax) + context)
        let before =
            (first > place.line.lowerBound ? "..." : "") + Self.printable(bytes[first..<start])
        let middle = Self.printable(bytes[start..<min(end, last)])
        let after =
            Self.printable(bytes[min(end, last)..<last])
            + (last < place.line.upperBound ? "..." : "")
        let carets = String(repeating: "^", count: max(1, middle.count))
        return """
            \(place.prefix)\(reason)
              \(before)\(middle)\(after)
              \(String(repeating: " ", count: before.count))\(carets)
            """
    }

    /// The reason and the place in one line: `"'tpc' is no word …; did you mean 'tcp'? (at 'tpc port 80')"`.
    ///
    /// - Parameter text: The text that was refused.
    /// - Returns: The line; it begins with the number of the text's line if that has several.
    package func line(in text: String) -> String {
        let bytes = Array(text.utf8)
        let place = Place(of: range, in: bytes)
        let start = place.range.lowerBound
        guard start < place.line.upperBound else { return place.prefix + reason }
        let rest = bytes[start..<min(place.line.upperBound, start + Self.contextMax)]
        let dots = start + rest.count < place.line.upperBound ? "..." : ""
        return "\(place.prefix)\(reason) (at '\(Self.printable(rest))\(dots)')"
    }

    /// A part of a text as a reason can repeat it: without signs that cannot be shown, and cut.
    static func shown(_ text: some Sequence<UInt8>) -> String {
        let bytes = Array(text.prefix(wordByteCountMax + 1))
        guard bytes.count > wordByteCountMax else { return printable(bytes[...]) }
        return printable(bytes.prefix(wordByteCountMax)) + "..."
    }

    /// A word in quotes, as a reason can repeat it.
    static func quoted(_ word: some StringProtocol) -> String { "'\(shown(word.utf8))'" }

    /// Text that takes one column for each character, whatever the bytes are.
    private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
        String(
            String(decoding: bytes, as: UTF8.self).map { character in
                character.isASCII && (character.asciiValue ?? 0) >= 0x20 && character != "\u{7f}"
                    ? character : character.isWhitespace ? " " : "?"
            })
    }
}

/// Where in a text's lines a fault is.
private struct Place {
    /// The bytes that are meant, as far as they are in one line.
    let range: Range<Int>
    /// The line's bytes.
    let line: Range<Int>
    /// What stands before the reason: the line's number, if there are several.
    let prefix: String

    init(of range: Range<Int>, in bytes: [UInt8]) {
        let newline = UInt8(ascii: "\n")
        // What is missing at the end is missing behind the last word, and not lines below it.
        let contentEnd = (bytes.lastIndex { !Self.isSpace($0) } ?? -1) + 1
        var start = min(range.lowerBound, contentEnd)
        while start < min(range.upperBound, contentEnd), Self.isSpace(bytes[start]) { start += 1 }
        let lineStart = (bytes[..<start].lastIndex(of: newline) ?? -1) + 1
        var lineEnd = bytes[start...].firstIndex(of: newline) ?? bytes.count
        if lineEnd > start, bytes[lineEnd - 1] == 0x0d { lineEnd -= 1 }
        line = lineStart..<lineEnd
        self.range = start..<min(max(range.upperBound, start), lineEnd)
        let count = bytes[..<start].count { $0 == newline }
        prefix = bytes[..<contentEnd].contains(newline) ? "line \(count + 1): " : ""
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0d).contains(byte)
    }
}
