package import Formats
import Glibc
import Linux

/// A text on a terminal that is drawn again and again in the same place.
///
/// What was on the terminal before stays above it. The cursor rests at its first character, which terminals
/// keep it at when they break lines anew for another width. So nothing has to be known of what became
/// of the text, and nothing above it is ever erased.
package struct LiveScreen {
    private let fileDescriptor: CInt
    private let allowsColors: Bool
    private let write: @Sendable (String) -> Void
    /// The lines that are drawn.
    private var lines: [Substring] = []
    /// The window in which they were drawn.
    private var drawnWindow: Window
    /// Whether nothing is drawn, since the window's size is changing.
    private var isHeld = false

    /// Control sequences (ECMA-48, and DEC's private mode of lines that wrap).
    private enum Sequence {
        static let eraseBelow = "\u{1b}[J"
        /// Erases the cursor's line and what is below it.
        ///
        /// It begins in the second column: what is erased from the window's first character on, tmux moves to
        /// its history.
        static let below = "\r" + eraseLine + right + eraseBelow + "\r"
        static let right = "\u{1b}[C"
        static let eraseLine = "\u{1b}[2K"
        static let wrapOff = "\u{1b}[?7l"
        static let wrapOn = "\u{1b}[?7h"
        static func up(_ lineCount: Int) -> String {
            lineCount > 0 ? "\u{1b}[\(lineCount)F" : ""
        }
    }

    /// A screen on a descriptor; nil if that is no terminal, or one that cannot move its cursor.
    ///
    /// What writes to it may do so in order with other lines; by default it is written to at once.
    package init?(
        on fileDescriptor: CInt, allowsColors: Bool = true, isDumb: Bool = Window.isDumb,
        write: (@Sendable (String) -> Void)? = nil
    ) {
        guard isTerminal(fileDescriptor), !isDumb else { return nil }
        self.fileDescriptor = fileDescriptor
        self.allowsColors = allowsColors
        self.write =
            write ?? { text in
                // The text is lost with its terminal; the program goes on.
                try? writeAll(text.utf8, to: fileDescriptor, "the terminal")
            }
        drawnWindow = Window(of: fileDescriptor, allowsColors: allowsColors)
    }

    /// The window for the next text: all columns, and all lines but one.
    ///
    /// The last line is the cursor's: a text that is higher could not be drawn over.
    package var window: Window {
        let window = Window(of: fileDescriptor, allowsColors: allowsColors)
        return Window(
            width: window.width, height: window.height.map { max(1, $0 - 1) },
            hasColors: window.hasColors)
    }

    /// Draws a text in place of the last one.
    ///
    /// Lines that do not fit the window are left out. In the background nothing is drawn, since the
    /// terminal's lines are then those of another program.
    package mutating func show(_ text: String) {
        guard !isHeld else { return }
        guard isForeground(fileDescriptor) else {
            lines = []
            return
        }
        let window = window
        // A terminal may have broken the lines anew.
        let hasResized = window != drawnWindow
        lines = Array(text.split(separator: "\n", omittingEmptySubsequences: false).dropLast())
        let drawn = drawn(in: window)
        write((hasResized ? Sequence.below : "") + drawn.text + Sequence.up(drawn.lineCount))
        drawnWindow = window
    }

    /// Erases the text, for other lines to take its place.
    package mutating func erase() {
        guard !lines.isEmpty else { return }
        lines = []
        guard isForeground(fileDescriptor) else { return }
        write(Sequence.below)
    }

    /// Erases the text, and draws none until `resume`, while the window's size changes.
    ///
    /// Each change could push lines out of the window that are broken anew, and there nothing can be erased.
    package mutating func hold() {
        erase()
        isHeld = true
    }

    /// Draws again after `hold`.
    package mutating func resume() { isHeld = false }

    /// Leaves the text on the terminal for good: what comes next is below it.
    package mutating func leave() {
        guard !lines.isEmpty else { return }
        defer { lines = [] }
        guard isForeground(fileDescriptor) else { return }
        write(Sequence.below + drawn(in: window).text)
    }

    /// The sequences that draw the lines, with the cursor below them.
    private func drawn(in window: Window) -> (text: String, lineCount: Int) {
        let lines = lines.prefix(window.height ?? .max)
        // A line is erased before it is written: behind one that is as long as the window is wide the cursor
        // stays on its last character, which erasing would take.
        let text = lines.map { "\(Sequence.eraseLine)\($0)\n" }.joined()
        return (
            "\r" + Sequence.wrapOff + text + Sequence.eraseBelow + Sequence.wrapOn, lines.count
        )
    }
}
