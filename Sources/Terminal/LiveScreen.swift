package import Formats
import Glibc
import Linux

/// A text on a terminal that is drawn again and again in the same place.
///
/// What was on the terminal before stays above it.
package struct LiveScreen {
    private let fileDescriptor: CInt
    private let allowsColors: Bool
    private let write: @Sendable (String) -> Void
    /// The lines that are drawn.
    private var lineCount = 0
    /// The window in which they were drawn.
    private var drawnWindow: Window

    /// Control sequences (ECMA-48, and DEC's private mode of lines that wrap).
    private enum Sequence {
        static let eraseBelow = "\u{1b}[J"
        static let eraseLine = "\u{1b}[2K"
        static let home = "\u{1b}[H"
        static let wrapOff = "\u{1b}[?7l"
        static let wrapOn = "\u{1b}[?7h"
        static func up(_ lineCount: Int) -> String {
            lineCount > 0 ? "\u{1b}[\(lineCount)F" : "\r"
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
        guard isForeground(fileDescriptor) else {
            lineCount = 0
            return
        }
        let window = window
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        if let height = window.height, lines.count > height { lines = lines.prefix(height) }
        // A terminal may have broken the lines anew when its window changed, so nobody knows how many
        // there are.
        let hasResized = lineCount > 0 && window != drawnWindow
        let start = hasResized ? Sequence.home : Sequence.up(lineCount)
        // A line is erased before it is written: behind one that is as long as the window is wide the cursor
        // stays on its last character, which erasing would take.
        let drawn = lines.map { "\(Sequence.eraseLine)\($0)\n" }.joined()
        write(start + Sequence.wrapOff + drawn + Sequence.eraseBelow + Sequence.wrapOn)
        lineCount = lines.count
        drawnWindow = window
    }

    /// Erases the text, for other lines to take its place.
    package mutating func erase() {
        guard lineCount > 0 else { return }
        defer { lineCount = 0 }
        guard isForeground(fileDescriptor) else { return }
        write(Sequence.up(lineCount) + Sequence.eraseBelow)
    }
}
