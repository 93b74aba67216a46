package import Testing

import CLinux
import Glibc
import Linux
import Synchronization

/// `tools/test` runs these tests as root and sets `KERNEL_TESTS=required`. There nothing is skipped:
/// a test that cannot run fails.
private let isRequired = unsafe getenv("KERNEL_TESTS") != nil

extension Trait where Self == ConditionTrait {
    /// Skips a test where the process may not make a network namespace.
    package static var needsOwnNetwork: Self {
        enabled("needs root; run tools/test") { isRequired || geteuid() == 0 }
    }
}

/// Runs a test's body on a thread that has a network namespace of its own, with nothing in it but a
/// loopback; commands that the body runs are in it, too. It goes away with the thread.
package func inOwnNetwork(_ body: @escaping @Sendable () throws -> Void) throws {
    let failure = FailureText()
    let thread = try Thread {
        do {
            try call("unshare") { clinux_unshare_network() }
            // No device speaks of its own accord.
            try shell("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; ip link set lo up")
            try body()
        } catch {
            failure.text.withLock { $0 = "\(error)" }
        }
    }
    thread.join()
    let text = failure.text.withLock { $0 }
    if !text.isEmpty { Issue.record("\(text)") }
}

private final class FailureText: Sendable {
    let text = Mutex("")
}

package struct CommandFailure: Error { package let command: String }

/// Runs a command in the calling thread's namespace.
package func shell(_ command: String) throws {
    guard unsafe system("{ \(command); } </dev/null") == 0 else {
        throw CommandFailure(command: command)
    }
}

/// Returns what a command prints.
package func output(of command: String) throws -> String {
    guard let pipe = unsafe popen(command, "r") else { throw CommandFailure(command: command) }
    defer { unsafe _ = pclose(pipe) }
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = unsafe fread(&buffer, 1, buffer.count, pipe)
        guard count > 0 else { break }
        text += buffer[..<count]
    }
    return String(decoding: text, as: UTF8.self)
}
