import ArgumentParser
import Glibc
import Linux

/// The signals that the program does something at, for which threads of their own wait.
///
/// Block them before another thread starts: threads inherit that.
enum Signals {
    /// Blocks SIGTERM and SIGINT, which end the program, and others; ignores those of failing writes, so
    /// that the writes fail: to a pipe that nobody reads, or beyond the limit for a file's size.
    static func block(_ others: [CInt] = []) {
        var set = endingSignals
        // Safety: as below.
        for number in others { unsafe _ = sigaddset(&set, number) }
        // Safety: `set` is a plain value of this frame, and the call reads it.
        unsafe _ = pthread_sigmask(SIG_BLOCK, &set, nil)
        // What is ignored cannot be waited for.
        if others.contains(SIGUSR1) { _ = signal(SIGUSR1, SIG_DFL) }
        _ = signal(SIGPIPE, SIG_IGN)
        _ = signal(SIGXFSZ, SIG_IGN)
    }

    /// Ignores the signals that end a program that knows nothing of them, but would not end one that does.
    ///
    /// People send SIGUSR1 to a collector for its numbers, and `pidof podwire` finds the agent beside it, too.
    static func ignoreUserSignals() {
        for number in [SIGUSR1, SIGUSR2] { _ = signal(number, SIG_IGN) }
    }

    /// SIGHUP, unless it is ignored, as nohup(1) has it: then it must not be waited for either.
    static var hangup: [CInt] { isIgnored(SIGHUP) ? [] : [SIGHUP] }

    /// The signals of a terminal to a program that shows something on it.
    static var ofTerminal: [CInt] {
        [SIGWINCH] + hangup + (isIgnored(SIGTSTP) ? [] : [SIGTSTP])
    }

    private static func isIgnored(_ signal: CInt) -> Bool {
        var action = sigaction()
        // Safety: the call writes one `sigaction`, and its handler is compared, not called.
        unsafe _ = sigaction(signal, nil, &action)
        let handler = unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
        let ignored = unsafe unsafeBitCast(SIG_IGN, to: Int.self)
        return handler == ignored
    }

    /// Calls `body` at SIGTERM or SIGINT, and ends the program if that does not end by itself.
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

    /// Calls `body` at each signal of a number, which has to be blocked.
    static func on(
        _ signal: CInt, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        try Thread {
            var set = signalSet(of: [signal])
            var number: CInt = 0
            // Safety: both are plain values of this frame.
            while unsafe sigwait(&set, &number) == 0 { body() }
        }.detach()
    }

    /// Calls `begin` when the size of the terminal's window begins to change, and `end` when it has not
    /// changed for a while.
    static func onResize(
        begin: @escaping @Sendable () -> Void, end: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        try on(SIGWINCH) {
            begin()
            while waitForSignal(SIGWINCH, within: resizePause) {}
            end()
        }
    }

    /// Calls `before` before the terminal's Ctrl-Z stops the program, unless that is ignored, and `after` when
    /// it goes on.
    static func onSuspension(
        before: @escaping @Sendable () -> Void, after: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        guard !isIgnored(SIGTSTP) else { return }
        try on(SIGTSTP) {
            before()
            // The kernel does what it would have done: it does not stop a program that nobody could continue.
            var set = signalSet(of: [SIGTSTP])
            kill(getpid(), SIGTSTP)
            // Safety: the calls read a plain value of this frame.
            unsafe _ = pthread_sigmask(SIG_UNBLOCK, &set, nil)
            unsafe _ = pthread_sigmask(SIG_BLOCK, &set, nil)
            after()
        }
    }

    /// Has SIGHUP end the program as SIGTERM does, where it has been blocked.
    static func endOnHangup() throws(SystemError) { try on(SIGHUP, end) }

    /// Ends the program as SIGTERM does.
    static func end() { kill(getpid(), SIGTERM) }

    /// Makes an event that the first signal raises; see `onEnd`.
    static func endEvent(secondsMax: UInt32) throws(SystemError) -> Event {
        let event = try Event()
        let number = event.fileDescriptor
        try onEnd(secondsMax: secondsMax) { Event.raise(number) }
        return event
    }

    /// Prints on another thread: perhaps nobody reads standard error either.
    private static func printOnThread(_ text: String) {
        try? Thread { printMessage("podwire: \(text)") }.detach()
    }

    private static let farewellMicroseconds: UInt32 = 100_000
    /// The pause after which a window that is dragged has its size: tmux tells a new one each 250 ms.
    ///
    /// What is drawn in the wrong size meanwhile may be broken anew, and pushed out of the window.
    private static let resizePause = Duration.milliseconds(600)

    private static var endingSignals: sigset_t { signalSet(of: [SIGTERM, SIGINT]) }

    private static func signalSet(of signals: [CInt]) -> sigset_t {
        var set = sigset_t()
        // Safety: the calls write into `set` only.
        unsafe _ = sigemptyset(&set)
        for number in signals { unsafe _ = sigaddset(&set, number) }
        return set
    }
}
