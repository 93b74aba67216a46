/// The window that a text has to fit.
///
/// What goes to a file or a pipe has a window without limits, and no colours.
package struct Window: Equatable, Sendable {
    /// The columns; nil for no limit.
    package let width: Int?
    /// The lines; nil for no limit.
    package let height: Int?
    /// Whether texts may have colours and weight.
    package let hasColors: Bool

    /// A window of some size, in columns and lines, 1 at least.
    package init(width: Int?, height: Int? = nil, hasColors: Bool = false) {
        self.width = width.map { max(1, $0) }
        self.height = height.map { max(1, $0) }
        self.hasColors = hasColors
    }

    /// A file, or a pipe to another program.
    package static let unlimited = Window(width: nil)

    /// The most columns of a sentence: longer lines are hard to read.
    private static let sentenceWidthMax = 100
    /// The columns of sentences where there is no window, as people are used to them.
    private static let sentenceWidthStandard = 80

    /// The columns for sentences.
    package var sentenceWidth: Int {
        width.map { min($0, Self.sentenceWidthMax) } ?? Self.sentenceWidthStandard
    }

    /// The window with no more columns than sentences have; for tables that end with one.
    ///
    /// A program that reads a table has each row on a line.
    package var ofSentences: Window {
        Window(width: width.map { _ in sentenceWidth }, height: height, hasColors: hasColors)
    }

    /// A text with an emphasis, where the window has any (ECMA-48, SGR).
    package func text(_ text: String, _ emphasis: Emphasis) -> String {
        guard hasColors, emphasis != .none, !text.isEmpty else { return text }
        return "\u{1b}[\(emphasis.parameters)m\(text)\u{1b}[0m"
    }

    /// A paragraph's lines, each with its line end, broken between words where they do not fit.
    package func paragraph(_ text: String, hanging indent: Int = 0) -> String {
        Wording.lines(text, width: sentenceWidth, hanging: indent, breaksWords: width != nil)
            .map { $0 + "\n" }.joined()
    }
}

/// What sets a text off from others on a terminal.
package enum Emphasis: Sendable {
    case none
    /// A title, a total.
    case strong
    /// What matters less than its neighbours.
    case faint
    case good
    case warning
    case bad

    /// The parameters of Select Graphic Rendition.
    ///
    /// The colours are the first eight, which every terminal has and each person's theme makes
    /// readable.
    fileprivate var parameters: String {
        switch self {
        case .none: "0"
        case .strong: "1"
        case .faint: "2"
        case .good: "32"
        case .warning: "33"
        case .bad: "1;31"
        }
    }
}
