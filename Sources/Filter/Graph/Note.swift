import Addressing

/// A test's question in words, for a program's listing.
struct Note: ExpressibleByStringLiteral {
    /// The words, with a question mark at their end.
    let words: String
    private let style: Style

    /// How the number is written that a test compares with.
    enum Style {
        /// It is left out.
        case none
        case address, decimal
    }

    init(_ words: String, _ style: Style) { (self.words, self.style) = (words, style) }

    init(stringLiteral words: String) { self.init(words, .none) }

    /// The question about a number, such as `"the source 10.1.2.3?"`.
    func text(_ comparison: Comparison, with number: UInt32?) -> String {
        guard let number, style != .none, words.hasSuffix("?") else { return words }
        let relation =
            switch comparison {
            case .equal, .anyBit: ""
            case .greater: "above "
            case .atLeast: "at least "
            }
        let written = style == .address ? "\(IPAddress(ipv4: number))" : "\(number)"
        return "\(words.dropLast()) \(relation)\(written)?"
    }
}
