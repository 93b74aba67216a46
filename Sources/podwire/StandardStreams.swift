import Glibc
import Linux

/// Writes a text to standard error; ignores failures, since there is nowhere to report them.
func writeToStandardError(_ text: String) {
    try? writeAll(text.utf8, to: STDERR_FILENO, "standard error")
}

/// Writes a text to standard output; ignores failures.
func writeToStandardOutput(_ text: String) {
    try? writeAll(text.utf8, to: STDOUT_FILENO, "standard output")
}
