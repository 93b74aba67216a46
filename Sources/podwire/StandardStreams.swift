import ArgumentParser
import Glibc
import Linux

/// Writes a text to standard error; ignores failures, since there is nowhere to report them.
func writeToStandardError(_ text: String) {
    try? writeAll(text.utf8, to: STDERR_FILENO, "standard error")
}

/// Writes a text to standard output.
///
/// A reader that has gone has seen what it wanted, so that is no failure.
func writeToStandardOutput(_ text: String) throws(SystemError) {
    do throws(SystemError) {
        try writeAll(text.utf8, to: STDOUT_FILENO, "standard output")
    } catch {
        guard error.errno == .brokenPipe else { throw error }
    }
}
