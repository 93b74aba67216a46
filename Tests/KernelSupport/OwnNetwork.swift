import CLinux
import Glibc
import Linux
import Synchronization
package import Testing

/// What is to become of kernel tests: `tools/test` says `required`, and `tools/check` says `off`.
private let mode = unsafe getenv("KERNEL_TESTS").map { unsafe String(cString: $0) }

extension Trait where Self == ConditionTrait {
    /// Skips a kernel test if the process may not make a network namespace, or is told to.
    package static var needsOwnNetwork: Self {
        enabled("needs root; run tools/test") {
            mode == "required" || mode != "off" && geteuid() == 0
        }
    }
}

/// Runs a test's body on a thread with a network namespace of its own.
///
/// The namespace has a loopback and nothing else. Commands that the body runs are in it as well. It
/// goes away with the thread.
package func inOwnNetwork(_ body: @escaping @Sendable () throws -> Void) throws {
    let failure = FailureText()
    let thread = try Thread {
        do {
            try call("unshare") { clinux_unshare_network() }
            // Without IPv6 no device sends of its own accord.
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
