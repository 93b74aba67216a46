import ArgumentParser
import Formats
import Glibc
import Terminal

/// The options for what people see.
struct DisplayOptions: ParsableArguments {
    @Flag(
        help: """
            Print without colours, also on a terminal; so does the variable NO_COLOR.
            """)
    var noColor = false

    /// The window of standard output as it is now.
    var window: Window { Window(of: STDOUT_FILENO, allowsColors: !noColor) }

    /// The window of standard error as it is now.
    var errorWindow: Window { Window(of: STDERR_FILENO, allowsColors: !noColor) }
}
