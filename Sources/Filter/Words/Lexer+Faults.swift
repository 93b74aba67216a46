/// Characters that cannot be in a filter, and what would be right.
extension Lexer {
    static func unknown(_ bytes: [UInt8], _ position: Int, behind tokens: [Token]) -> FilterError {
        let character =
            String(decoding: bytes[position...].prefix(4), as: UTF8.self)
            .unicodeScalars.first ?? " "
        let end = min(bytes.count, position + UTF8.width(character))
        return FilterError(
            reason(character, bytes, position, behind: tokens),
            at: position..<max(position + 1, bytes[position] < 0x80 ? position + 1 : end))
    }

    private static func reason(
        _ character: Unicode.Scalar, _ bytes: [UInt8], _ position: Int, behind tokens: [Token]
    ) -> String {
        switch character {
        case "$": "$ stands before an ARCnet address, which Ethernet frames do not have"
        case "#": "a comment can only be in a file, on a line of its own"
        case "'", "\"", "`": "quotes have no meaning in a filter; leave them out"
        case ",": comma(bytes, position, behind: tokens)
        case "\u{2018}"..."\u{201f}", "\u{ab}", "\u{bb}", "\u{b4}":
            "this is a curly quote, such as a page has; type ' around the whole filter"
        case "\u{2010}"..."\u{2015}", "\u{2212}":
            "this is a dash, such as a page has; type -"
        case "\u{a0}", "\u{2000}"..."\u{200b}", "\u{202f}":
            "this is a wide or narrow space, such as a page has; type a plain space"
        case "\u{feff}": "this is a byte order mark; save the text without it"
        case "\u{80}"...: "the text has a character that is not ASCII"
        default: "this character has no meaning in a filter"
        }
    }

    /// The most words of a list with commas that a hint repeats.
    private static let listCountMax = 4

    /// What to write in the place of a comma: `port 80 or 443`.
    private static func comma(
        _ bytes: [UInt8], _ position: Int, behind tokens: [Token]
    ) -> String {
        let general = "a comma has no meaning in a filter; write 'or' or 'and'"
        guard let last = tokens.last, last.kind.isValue else { return general }
        var rest = bytes[position...].prefix(200)
        var others = ""
        for _ in 0..<listCountMax {
            rest = rest.drop { $0 == 0x20 }
            guard rest.first == UInt8(ascii: ",") else { break }
            rest = rest.dropFirst().drop { $0 == 0x20 }
            let word = rest.prefix { byte in
                isLetterOrDigit(byte) || ".:-_/".utf8.contains(byte)
            }
            guard !word.isEmpty else { break }
            others += " or \(FilterError.shown(word))"
            rest = rest.dropFirst(word.count)
        }
        guard !others.isEmpty else { return general }
        let phrase = Token.phrase(tokens, upTo: tokens.count - 1, of: bytes)
        return "a comma has no meaning in a filter; write '\(phrase)\(others)'"
    }
}
