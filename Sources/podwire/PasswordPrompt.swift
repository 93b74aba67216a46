import Glibc
import Linux
import Synchronization

/// Reads passwords from standard input without showing them.
struct PasswordPrompt {
    /// The longest password in bytes; a longer one is returned with one byte more.
    let byteCountMax: Int

    /// Asks questions at the terminal and returns the answers; waits for them.
    ///
    /// The terminal does not show what is typed. Its settings are restored before this returns, and
    /// before a signal ends the program.
    func ask(_ questions: [String]) throws(SystemError) -> [[UInt8]] {
        var settings = termios()
        // Safety: the call fills `settings`, a plain value of this frame.
        try call("tcgetattr") { unsafe tcgetattr(STDIN_FILENO, &settings) }
        let before = settings
        let watch = try SignalWatch { Self.restore(before) }
        let answers = Result { () throws(SystemError) in
            try readAnswers(to: questions, &settings)
        }
        Self.restore(before)
        watch.end()
        return try answers.get()
    }

    /// Asks without an echo, and waits for the answers.
    private func readAnswers(
        to questions: [String], _ settings: inout termios
    ) throws(SystemError) -> [[UInt8]] {
        settings.c_lflag &= ~tcflag_t(ECHO)
        // The line's end is shown, so that the next line begins below.
        settings.c_lflag |= tcflag_t(ECHONL)
        // Safety: the call reads the settings.
        try call("tcsetattr") { unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings) }
        var answers: [[UInt8]] = []
        for question in questions {
            writeToStandardError(question)
            answers.append(try readLine())
        }
        return answers
    }

    /// Reads a line of standard input, or what there is of it; waits for it.
    func readLine() throws(SystemError) -> [UInt8] {
        var line: [UInt8] = []
        while line.count <= byteCountMax {
            // Safety: the call writes at most as many bytes as the array has.
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = try call("read standard input") {
                unsafe read(STDIN_FILENO, &bytes, bytes.count)
            }
            let part = bytes[..<count]
            if let end = part.firstIndex(of: UInt8(ascii: "\n")) {
                return line + part[..<end]
            }
            if count == 0 { break }
            line += part
        }
        return Array(line.prefix(byteCountMax + 1))
    }

    private static func restore(_ settings: termios) {
        var settings = settings
        // Safety: the call reads the settings. If it fails the terminal is gone.
        unsafe _ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
    }
}

/// A thread that does something before a signal ends the program.
///
/// The program still ends by that signal. A stop from the keyboard (SIGTSTP) is ignored meanwhile: the
/// shell would not show what is typed then.
private struct SignalWatch: ~Copyable {
    private let thread: Thread
    private let isOver = Flag()
    private let blockedBefore: sigset_t
    private let stopBefore: sighandler_t?

    /// A flag that two threads share.
    private final class Flag: Sendable {
        let isSet = Atomic(false)
    }

    /// The longest time after which the thread notices that it is to end.
    private static let turnMicroseconds: UInt32 = 20_000
    /// The signals at which the terminal has to echo again before the program ends.
    private static let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT]

    init(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        var set = sigset_t()
        // Safety, for all: the calls read and write the sets and the number, plain values.
        unsafe _ = sigemptyset(&set)
        for number in Self.signals { unsafe _ = sigaddset(&set, number) }
        var before = sigset_t()
        unsafe _ = pthread_sigmask(SIG_BLOCK, &set, &before)
        blockedBefore = before
        stopBefore = signal(SIGTSTP, SIG_IGN)
        let (waiting, isOver) = (set, isOver)
        thread = try Thread {
            var set = waiting
            var (pending, number) = (sigset_t(), CInt(0))
            while true {
                guard !isOver.isSet.load(ordering: .acquiring) else { return }
                unsafe _ = sigpending(&pending)
                if Self.signals.contains(where: { unsafe sigismember(&pending, $0) == 1 }) { break }
                usleep(Self.turnMicroseconds)
            }
            unsafe _ = sigwait(&set, &number)
            body()
            writeToStandardError("\n")
            _ = signal(number, SIG_DFL)
            unsafe _ = pthread_sigmask(SIG_UNBLOCK, &set, nil)
            _ = kill(getpid(), number)
        }
    }

    /// Ends the thread, and lets signals do what they did before.
    consuming func end() {
        isOver.isSet.store(true, ordering: .releasing)
        thread.join()
        // Safety: the call reads the set, a plain value.
        var before = blockedBefore
        _ = signal(SIGTSTP, stopBefore)
        unsafe _ = pthread_sigmask(SIG_SETMASK, &before, nil)
    }
}
