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

    /// The most characters of the text that are shown on each side of the place.
    private static let contextMax = 30

    /// Three lines: the reason, the part of a text with the place, and carets below it.
    package func text(in text: String) -> String {
        let bytes = Array(text.utf8)
        let start = min(range.lowerBound, bytes.count)
        let end = min(max(range.upperBound, start), bytes.count)
        let first = max(0, start - Self.contextMax)
        let last = min(bytes.count, min(end, start + Self.contextMax) + Self.contextMax)
        let before = (first > 0 ? "..." : "") + Self.printable(bytes[first..<start])
        let place = Self.printable(bytes[start..<min(end, last)])
        let after = Self.printable(bytes[min(end, last)..<last]) + (last < bytes.count ? "..." : "")
        let carets = String(repeating: "^", count: max(1, place.count))
        return """
            \(reason)
              \(before)\(place)\(after)
              \(String(repeating: " ", count: before.count))\(carets)
            """
    }

    /// The reason and the place in one line: `"'tpc' is no word …, at 'tpc port 80'"`.
    package func line(in text: String) -> String {
        let bytes = Array(text.utf8)
        let start = min(range.lowerBound, bytes.count)
        guard start < bytes.count else { return reason }
        let rest = bytes[start..<min(bytes.count, start + Self.contextMax)]
        let dots = start + rest.count < bytes.count ? "..." : ""
        return "\(reason), at '\(Self.printable(rest))\(dots)'"
    }

    /// Text that takes one column for each character, whatever the bytes are.
    private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
        String(
            String(decoding: bytes, as: UTF8.self).map { character in
                character.isASCII && (character.asciiValue ?? 0) >= 0x20 && character != "\u{7f}"
                    ? character : character.isWhitespace ? " " : "?"
            })
    }
}
