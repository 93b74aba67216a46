package import Formats
import Linux

extension Window {
    /// The window of a terminal that does not say how large it is: that of a VT100.
    private static let standardSize = (columns: 80, lines: 24)

    /// The window of a descriptor as it is now; one without limits if it is no terminal.
    ///
    /// Colours are for terminals that have them, and for people who have not said no: with `NO_COLOR`
    /// (no-color.org) or an option.
    package init(of fileDescriptor: CInt, allowsColors: Bool = true) {
        guard isTerminal(fileDescriptor) else {
            self = .unlimited
            return
        }
        let size = terminalSize(fileDescriptor) ?? Self.standardSize
        let forbidsColors = environmentVariable("NO_COLOR").map { !$0.isEmpty } ?? false
        self.init(
            width: size.columns, height: size.lines,
            hasColors: allowsColors && !forbidsColors && !Self.isDumb)
    }

    /// Whether the terminal knows no control sequences (term(7)).
    package static var isDumb: Bool { ["", "dumb"].contains(environmentVariable("TERM") ?? "") }
}
