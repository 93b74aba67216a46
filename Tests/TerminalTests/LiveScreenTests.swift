import Formats
import KernelSupport
import Terminal
import Testing

@Suite("A screen that is drawn in place")
struct LiveScreenTests {
    private static let erase = "\u{1b}[2K"
    /// Erases the text that begins at the cursor; returns to the first column are not in the output.
    private static let eraseAll = "\u{1b}[2K\u{1b}[C\u{1b}[J"

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

    @Test("leaves the cursor where the text begins, and never goes above that")
    func redraws() throws {
        let terminal = PseudoTerminal(columns: 70, lines: 10)
        var screen = try #require(Self.screen(terminal))
        screen.show("one\ntwo\n")
        let first = terminal.takeOutput()
        #expect(first.hasSuffix("\u{1b}[2F"))
        #expect(first.contains("\(Self.erase)one\n\(Self.erase)two\n"))
        screen.show("three\n")
        let second = terminal.takeOutput()
        #expect(second.hasPrefix("\u{1b}[?7l\(Self.erase)three\n"))
        #expect(second.hasSuffix("\u{1b}[1F"))
        screen.erase()
        #expect(terminal.takeOutput() == Self.eraseAll)
        screen.erase()
        #expect(terminal.takeOutput().isEmpty)
    }

    @Test("leaves the text above what comes next, and draws anew below that")
    func leave() throws {
        let terminal = PseudoTerminal(columns: 70, lines: 10)
        var screen = try #require(Self.screen(terminal))
        screen.leave()
        #expect(terminal.takeOutput().isEmpty)
        screen.show("one\ntwo\n")
        _ = terminal.takeOutput()
        screen.leave()
        let left = terminal.takeOutput()
        #expect(left.contains("one\n\(Self.erase)two\n") && !left.contains("F"))
        screen.erase()
        #expect(terminal.takeOutput().isEmpty)
        screen.show("three\n")
        #expect(terminal.takeOutput().hasPrefix("\u{1b}[?7l\(Self.erase)three\n"))
    }

    @Test("draws no more lines than fit, and erases the text first when the size has changed")
    func resized() throws {
        let terminal = PseudoTerminal(columns: 70, lines: 4)
        var screen = try #require(Self.screen(terminal))
        screen.show("1\n2\n3\n4\n5\n")
        let drawn = terminal.takeOutput()
        #expect(drawn.contains("\(Self.erase)3") && !drawn.contains("\(Self.erase)4"))
        #expect(drawn.hasSuffix("\u{1b}[3F"))
        terminal.resize(columns: 30, lines: 4)
        screen.show("1\n")
        #expect(terminal.takeOutput().hasPrefix(Self.eraseAll))
    }

    @Test("is away while the size changes")
    func held() throws {
        let terminal = PseudoTerminal(columns: 70, lines: 4)
        var screen = try #require(Self.screen(terminal))
        screen.show("1\n2\n")
        _ = terminal.takeOutput()
        screen.hold()
        #expect(terminal.takeOutput() == Self.eraseAll)
        screen.show("3\n")
        screen.leave()
        #expect(terminal.takeOutput().isEmpty)
        screen.resume()
        screen.show("3\n")
        #expect(terminal.takeOutput().contains("\(Self.erase)3\n"))
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
