import Glibc
import Linux
import Time

/// A command that failed.
package struct CommandFailure: Error {
    /// The command.
    package let command: String
}

/// Runs a command in the calling thread's namespace.
package func shell(_ command: String) throws(CommandFailure) {
    guard unsafe system("{ \(command); } </dev/null") == 0 else {
        throw CommandFailure(command: command)
    }
}

/// Runs a command, and returns what it prints.
package func output(of command: String) throws(CommandFailure) -> String {
    guard let pipe = unsafe popen(command, "r") else { throw CommandFailure(command: command) }
    defer { unsafe _ = pclose(pipe) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        // Safety: the call writes at most as many bytes as the buffer has.
        let count = unsafe fread(&buffer, 1, buffer.count, pipe)
        guard count > 0 else { break }
        text += buffer[..<count]
    }
    return String(decoding: text, as: UTF8.self)
}

/// Waits until every veth that is up can send.
///
/// The kernel gives a veth its queue some time after its peer is up, and until then drops what is to
/// leave there.
package func awaitLinks() throws {
    let deadline = MonotonicTime.now + .seconds(60)
    while try output(of: "ip -o link show up type veth | grep -v ' state UP ' || true") != "" {
        guard MonotonicTime.now < deadline else { throw SystemError("wait for veths", .timedOut) }
        sleep(until: .now + .milliseconds(20))
    }
}
