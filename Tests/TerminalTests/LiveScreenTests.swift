import Formats
import KernelSupport
import Terminal
import Testing

@Suite("A screen that is drawn in place")
struct LiveScreenTests {
    private static let erase = "\u{1b}[2K"

    @Test("takes the window's size, and leaves a line to the cursor")
    func window() throws {
        let terminal = PseudoTerminal(columns: 70, lines: 10)
        let window = Window(of: terminal.fileDescriptor)
        #expect(window.width == 70 && window.height == 10)
        let screen = try #require(Self.screen(terminal))
        #expect(screen.window.width == 70 && screen.window.height == 9)
        terminal.resize(columns: 50, lines: 5)
        #expect(screen.window.width == 50 && screen.window.height == 4)
    }

    @Test("goes up as many lines as it has drawn")
    func redraws() throws {
        let terminal = PseudoTerminal(columns: 70, lines: 10)
        var screen = try #require(Self.screen(terminal))
        screen.show("one\ntwo\n")
        let first = terminal.takeOutput()
        #expect(first.contains("\(Self.erase)one\n\(Self.erase)two\n") && !first.contains("[2F"))
        screen.show("three\n")
        #expect(terminal.takeOutput().hasPrefix("\u{1b}[2F"))
        screen.erase()
        #expect(terminal.takeOutput() == "\u{1b}[1F\u{1b}[J")
        screen.erase()
        #expect(terminal.takeOutput().isEmpty)
    }

    @Test("draws no more lines than fit, and clears the window when its size has changed")
    func resized() throws {
        let terminal = PseudoTerminal(columns: 70, lines: 4)
        var screen = try #require(Self.screen(terminal))
        screen.show("1\n2\n3\n4\n5\n")
        let drawn = terminal.takeOutput()
        #expect(drawn.contains("\(Self.erase)3") && !drawn.contains("\(Self.erase)4"))
        terminal.resize(columns: 30, lines: 4)
        screen.show("1\n")
        #expect(terminal.takeOutput().hasPrefix("\u{1b}[H"))
    }

    @Test("is none where there is no terminal")
    func absent() {
        #expect(Window(of: -1) == .unlimited)
        #expect(LiveScreen(on: -1) == nil)
    }

    /// A screen on a terminal that knows control sequences, whatever runs the tests.
    private static func screen(_ terminal: PseudoTerminal) -> LiveScreen? {
        LiveScreen(on: terminal.fileDescriptor, isDumb: false)
    }
}
