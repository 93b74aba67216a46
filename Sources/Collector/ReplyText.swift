/// Texts from agents in printable ASCII, so that a terminal can show them.
enum ReplyText {
    /// The longest name or description that RPCAP's reader takes from an agent.
    private static let characterCountMax = 1024

    /// A name as one word.
    static func printable(_ name: String) -> String { text(name, from: 0x21) }

    /// A description as words.
    static func printableWords(_ text: String) -> String { self.text(text, from: 0x20) }

    private static func text(_ text: String, from least: UInt32) -> String {
        String(
            text.unicodeScalars.prefix(characterCountMax).map {
                (least...0x7e).contains($0.value) ? Character($0) : "?"
            })
    }
}
