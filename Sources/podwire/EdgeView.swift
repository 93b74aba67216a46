import Addressing
import Edges
import Formats
import Glibc
import Linux
import Synchronization
import Terminal

/// A list of edges that is followed.
///
/// On a terminal it is drawn again in place. Elsewhere the whole list follows the one before.
final class EdgeView: Sendable {
    private let display: DisplayOptions
    private let isJSON: Bool
    private let networks: [IPNetwork]
    private let state: Mutex<State>

    private struct State {
        /// The terminal; nil if there is none.
        var screen: LiveScreen?
        var report: EdgeReport?
        /// What was printed last where there is no terminal.
        var printed = ""
    }

    init(_ display: DisplayOptions, asJSON isJSON: Bool, _ networks: [IPNetwork]) {
        (self.display, self.isJSON, self.networks) = (display, isJSON, networks)
        let screen = isJSON ? nil : LiveScreen(on: STDOUT_FILENO, allowsColors: !display.noColor)
        state = Mutex(State(screen: screen))
    }

    /// Shows a node, if anything that is shown has changed.
    ///
    /// - Throws: Why standard output could not be written.
    func show(_ node: Node) throws(SystemError) {
        let report = EdgeReport(node, networks)
        try state.withLock { state throws(SystemError) in
            state.report = report
            if state.screen != nil { return Self.draw(&state) }
            let text =
                isJSON ? node.json.text + "\n" : report.text(in: display.window) + "\n"
            // Not every change of a node is one of its edges.
            guard text != state.printed else { return }
            state.printed = text
            try writeAll(text.utf8, to: STDOUT_FILENO, "standard output")
        }
    }

    /// Has lines of somebody else written above the list.
    func write(_ lines: () -> Void) {
        state.withLock { state in
            state.screen?.erase()
            lines()
            Self.draw(&state)
        }
    }

    /// Takes the list away while the size of the window changes.
    func hold() { state.withLock { $0.screen?.hold() } }

    /// Draws the last list anew, for a window of another size.
    func resume() {
        state.withLock { state in
            state.screen?.resume()
            Self.draw(&state)
        }
    }

    /// Leaves the list where it is, for lines of another program to follow it, and draws none until `resume`.
    func leave() {
        state.withLock { state in
            state.screen?.leave()
            state.screen?.hold()
        }
    }

    private static func draw(_ state: inout State) {
        guard let window = state.screen?.window, let report = state.report else { return }
        state.screen?.show(report.text(in: window, lineCountMax: window.height))
    }
}
