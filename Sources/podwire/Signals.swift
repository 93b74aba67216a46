import ArgumentParser
import Glibc
import Linux

/// SIGTERM and SIGINT, which a thread of their own waits for.
///
/// Block them before another thread starts: threads inherit that.
enum Signals {
    /// Blocks the signals that end the program, and ignores those of failing writes, so that the
    /// writes fail: to a pipe that nobody reads, or beyond the limit for a file's size.
    static func block(hangup: Bool = false) {
        var set = endingSignals
        // Safety: as below.
        if hangup { unsafe _ = sigaddset(&set, SIGHUP) }
        // Safety: `set` is a plain value of this frame, and the call reads it.
        unsafe _ = pthread_sigmask(SIG_BLOCK, &set, nil)
        _ = signal(SIGPIPE, SIG_IGN)
        _ = signal(SIGXFSZ, SIG_IGN)
    }

    /// Calls `body` at the first signal, and ends the program if that does not end by itself.
    ///
    /// The program may hang, on a pipe that nobody reads for instance. Then `giveUp` has a tenth of a
    /// second to print the reason. More signals in that time change nothing: timeout(1) and shells
    /// send theirs more than once.
    static func onEnd(
        secondsMax: UInt32, orElse giveUp: @escaping @Sendable (String) -> Void = printOnThread,
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

    /// Calls `body` at each SIGHUP, which has to be blocked.
    static func onHangup(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        try Thread {
            var set = sigset_t()
            var number: CInt = 0
            // Safety: all are plain values of this frame.
            unsafe _ = sigemptyset(&set)
            unsafe _ = sigaddset(&set, SIGHUP)
            while unsafe sigwait(&set, &number) == 0 { body() }
        }.detach()
    }

    /// Calls `body` whenever the size of the terminal's window has changed (SIGWINCH, signal(7)).
    ///
    /// Threads that are started before would take the signal and ignore it.
    static func onWindowChange(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        var set = sigset_t()
        // Safety: all are plain values of this frame.
        unsafe _ = sigemptyset(&set)
        unsafe _ = sigaddset(&set, SIGWINCH)
        unsafe _ = pthread_sigmask(SIG_BLOCK, &set, nil)
        try Thread { [set] in
            var (set, number) = (set, CInt(0))
            // Safety: as above.
            while unsafe sigwait(&set, &number) == 0 { body() }
        }.detach()
    }

    /// Makes an event that the first signal raises; see `onEnd`.
    static func endEvent(secondsMax: UInt32) throws(SystemError) -> Event {
        let event = try Event()
        let number = event.fileDescriptor
        try onEnd(secondsMax: secondsMax) { Event.raise(number) }
        return event
    }

    /// Prints on another thread: perhaps nobody reads standard error either.
    private static func printOnThread(_ text: String) {
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
