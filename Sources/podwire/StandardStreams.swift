import Glibc
import Linux

/// Writes a text to standard error; nobody can be told if that fails.
func writeToStandardError(_ text: String) {
    try? writeAll(text.utf8, to: STDERR_FILENO, "standard error")
}

func writeToStandardOutput(_ text: String) {
    try? writeAll(text.utf8, to: STDOUT_FILENO, "standard output")
}
