import Glibc
import Linux

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
        // Safety, for all: the calls read or fill `settings`, a plain value of this frame.
        try call("tcgetattr") { unsafe tcgetattr(STDIN_FILENO, &settings) }
        let before = settings
        try Self.restoreAtSignals(before)
        defer { Self.restore(before) }
        settings.c_lflag &= ~tcflag_t(ECHO)
        // The line's end is shown, so that the next line begins below.
        settings.c_lflag |= tcflag_t(ECHONL)
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

    /// Starts a thread that restores the terminal when a signal ends the program.
    ///
    /// The program still ends by that signal. A stop from the keyboard (SIGTSTP) is ignored: the shell
    /// would not show what is typed then.
    private static func restoreAtSignals(_ settings: termios) throws(SystemError) {
        var set = sigset_t()
        // Safety, for all: the calls read and write the set and the number, plain values.
        unsafe _ = sigemptyset(&set)
        for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] { unsafe _ = sigaddset(&set, number) }
        unsafe _ = pthread_sigmask(SIG_BLOCK, &set, nil)
        _ = signal(SIGTSTP, SIG_IGN)
        let waiting = set
        try Thread {
            var (set, number) = (waiting, CInt(0))
            unsafe _ = sigwait(&set, &number)
            restore(settings)
            writeToStandardError("\n")
            _ = signal(number, SIG_DFL)
            unsafe _ = pthread_sigmask(SIG_UNBLOCK, &set, nil)
            _ = kill(getpid(), number)
        }.detach()
    }
}
