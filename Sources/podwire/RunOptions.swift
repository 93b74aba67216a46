import ArgumentParser
import Formats

/// The options that say how long packets are collected, and what is said meanwhile.
struct RunOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            End after this time, counted from the start, such as 10s, 5m or 1h; a number alone is \
            seconds.
            """, valueName: "TIME"),
        completion: .list(["10s", "60s", "5m", "1h"]))
    var duration: String?

    @Flag(
        help: """
            Print warnings and errors only: no live table, no summaries. The numbers of --json and \
            of SIGUSR1 are printed, and the last table of `podwire top`.
            """)
    var quiet = false

    /// These options, checked and understood.
    struct Settings {
        let duration: Duration?
        let isQuiet: Bool
    }

    /// Reads the options; throws a `ValidationError` that says what would be right.
    func settings() throws -> Settings {
        guard let text = duration else { return Settings(duration: nil, isQuiet: quiet) }
        guard let duration = Duration(text: text), duration > .zero else {
            throw ValidationError("--duration \(text): it takes a time such as 10s, 5m or 1h")
        }
        return Settings(duration: duration, isQuiet: quiet)
    }
}
