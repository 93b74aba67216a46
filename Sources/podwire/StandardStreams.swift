import ArgumentParser
import Formats
import Glibc
import Linux
import Terminal

/// The spaces before the further lines of a message.
private let messageIndent = 4

/// Writes a text to standard error; ignores failures, since there is nowhere to report them.
func writeToStandardError(_ text: String) {
    try? writeAll(text.utf8, to: STDERR_FILENO, "standard error")
}

/// Tells people of a command's failure, or of what it leaves out: `podwire edges: REASON`, on standard error.
///
/// On a terminal its lines are broken between words. A program that reads it has a line for each message.
func printMessage(of command: String, _ text: String) {
    printMessage("podwire \(command): \(text)")
}

/// Tells people something on standard error; see `printMessage(of:)`.
func printMessage(_ text: String) {
    let window = Window(of: STDERR_FILENO)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
        line.count <= window.width ?? .max
            ? line + "\n" : window.paragraph(String(line), hanging: messageIndent)
    }
    writeToStandardError(lines.joined())
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
