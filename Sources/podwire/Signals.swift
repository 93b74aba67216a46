import Glibc
import Kernel

/// SIGTERM and SIGINT, taken by a thread of their own instead of interrupting others.
///
/// They have to be blocked before the first other thread starts, so that all inherit it.
enum Signals {
    /// Blocks the signals that end the program, and has writes to a closed pipe fail instead.
    static func block() {
        var set = endingSignals
        // Safety: the set is filled, and the calls copy it.
        unsafe _ = pthread_sigmask(SIG_BLOCK, &set, nil)
        _ = signal(SIGPIPE, SIG_IGN)
    }

    /// Calls `body` at the first signal; a second one ends the program at once.
    static func onEnd(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let thread = try Thread {
            wait()
            body()
            wait()
            _exit(130)
        }
        thread.detach()
    }

    private static func wait() {
        var set = endingSignals
        var number: CInt = 0
        // Safety: both are plain values of this frame.
        unsafe _ = sigwait(&set, &number)
    }

    private static var endingSignals: sigset_t {
        var set = sigset_t()
        // Safety: the calls write into `set` only.
        unsafe _ = sigemptyset(&set)
        unsafe _ = sigaddset(&set, SIGTERM)
        unsafe _ = sigaddset(&set, SIGINT)
        return set
    }
}
