import ArgumentParser
import Glibc
import Linux

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

    /// Calls `body` at the first signal. The program then has some seconds to end by itself: one
    /// that hangs, on a pipe that nobody reads for instance, is ended all the same, with a word that must
    /// not take long.
    ///
    /// More signals in that time change nothing: timeout(1) and shells send theirs more than once.
    static func onEnd(
        secondsMax: UInt32, orElse giveUp: @escaping @Sendable (String) -> Void = sayOnThread,
        _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        try Thread {
            var set = endingSignals
            var number: CInt = 0
            // Safety: both are plain values of this frame.
            unsafe _ = sigwait(&set, &number)
            body()
            sleep(secondsMax)
            giveUp("did not end within \(secondsMax) s, giving up")
            usleep(farewellMicroseconds)
            _exit(Exit.systemError.rawValue)
        }.detach()
    }

    /// What keeps the program from ending may be that nobody reads this, either.
    private static func sayOnThread(_ text: String) {
        try? Thread { writeToStandardError("podwire: \(text)\n") }.detach()
    }

    private static let farewellMicroseconds: UInt32 = 100_000

    private static var endingSignals: sigset_t {
        var set = sigset_t()
        // Safety: the calls write into `set` only.
        unsafe _ = sigemptyset(&set)
        unsafe _ = sigaddset(&set, SIGTERM)
        unsafe _ = sigaddset(&set, SIGINT)
        return set
    }
}
