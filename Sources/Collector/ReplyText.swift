/// Texts from agents, as a terminal can show them whatever their owners have put into them.
enum ReplyText {
    /// A table's cell is no longer.
    private static let characterCountMax = 64

    /// A name: one word.
    static func printable(_ name: String) -> String { text(name, from: 0x21) }

    /// A description: words.
    static func printableWords(_ text: String) -> String { self.text(text, from: 0x20) }

    private static func text(_ text: String, from least: UInt32) -> String {
        String(
            text.unicodeScalars.prefix(characterCountMax).map {
                (least...0x7e).contains($0.value) ? Character($0) : "?"
            })
    }
}
