import ArgumentParser
import Glibc
import Linux

/// Writes a text to standard error; ignores failures, since there is nowhere to report them.
func writeToStandardError(_ text: String) {
    try? writeAll(text.utf8, to: STDERR_FILENO, "standard error")
}

/// Writes a text to standard output, for which the command was started.
///
/// If that fails, as on a full disk, the program says so and ends; a reader that has gone has what it
/// wanted.
func writeToStandardOutput(_ text: String) {
    do throws(SystemError) {
        try writeAll(text.utf8, to: STDOUT_FILENO, "standard output")
    } catch {
        guard error.errno != .brokenPipe else { return }
        writeToStandardError("podwire: \(error)\n")
        _exit(Exit.systemError.rawValue)
    }
}
