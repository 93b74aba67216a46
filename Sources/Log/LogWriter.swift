import Glibc
package import Linux
import Synchronization
package import Time

/// A thread that writes the log, so that a thread that logs never waits for a reader.
///
/// A pipe that nobody empties, a terminal that is stopped or a disk that hangs can block a write for
/// ever. Lines then wait here. If there is no more room the newest are lost, and counted.
package final class LogWriter: Sendable {
    private let fileDescriptor: CInt
    private let state = Mutex(State())
    /// Raised when there is something to write.
    private let filled: Event
    /// Raised when everything is written.
    private let emptied: Event

    private struct State {
        var waiting: [UInt8] = []
        /// Whether the thread is writing what has waited.
        var isWriting = false
        var lostCount = 0
    }

    /// The most bytes that wait: some thousand lines, more than an agent writes at once.
    ///
    /// The thread may have as many again.
    package static let byteCountMax = 256 << 10

    /// Starts to write to a descriptor, which must stay open as long as the program runs.
    package init(to fileDescriptor: CInt) throws(SystemError) {
        self.fileDescriptor = fileDescriptor
        filled = try Event()
        emptied = try Event()
        try Thread { [self] in
            nameThread("podwire-log")
            run()
        }.detach()
    }

    /// Writes a line.
    ///
    /// Never waits for a reader.
    ///
    /// - Parameter line: Makes the line, given the number of lines lost before it.
    package func write(_ line: (_ lostCount: Int) -> String) {
        let isFirst = state.withLock { state in
            guard state.waiting.count < Self.byteCountMax else {
                state.lostCount += 1
                return false
            }
            let isFirst = state.waiting.isEmpty
            state.waiting += line(state.lostCount).utf8
            state.lostCount = 0
            return isFirst
        }
        if isFirst { filled.raise() }
    }

    /// Writes what is no line, such as a table, in its place between the lines.
    ///
    /// It is left out where lines would be lost.
    package func show(_ text: String) {
        let isFirst = state.withLock { state in
            guard state.waiting.count < Self.byteCountMax else { return false }
            let isFirst = state.waiting.isEmpty
            state.waiting += text.utf8
            return isFirst
        }
        if isFirst { filled.raise() }
    }

    /// Waits until everything is written or a time has come.
    package func flush(until deadline: MonotonicTime) {
        while state.withLock({ $0.isWriting || !$0.waiting.isEmpty }) {
            guard MonotonicTime.now < deadline else { return }
            _ = try? poll([(emptied.fileDescriptor, .readable)], until: deadline)
            emptied.lower()
        }
    }

    private func run() {
        var isMidLine = false
        while true {
            _ = try? poll([(filled.fileDescriptor, .readable)], until: nil)
            filled.lower()
            while let bytes = takeWaiting() {
                let rest = write((isMidLine ? [UInt8(ascii: "\n")] : []) + bytes)
                // A line that a failure has cut off must not run into the next one.
                isMidLine = !rest.isEmpty
                let lostCount = rest.count { $0 == UInt8(ascii: "\n") }
                state.withLock { $0.lostCount += lostCount }
            }
            emptied.raise()
        }
    }

    private func takeWaiting() -> [UInt8]? {
        state.withLock { state in
            state.isWriting = !state.waiting.isEmpty
            guard state.isWriting else { return nil }
            defer { state.waiting = [] }
            return state.waiting
        }
    }

    /// Writes as much as possible.
    ///
    /// - Returns: What could not be written, to a closed pipe or a full disk for instance.
    private func write(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        var rest = bytes[...]
        while !rest.isEmpty {
            do throws(SystemError) {
                rest = rest.dropFirst(try writeSome(rest, to: fileDescriptor, "the log"))
            } catch {
                guard error.errno == .wouldBlock else { return rest }
                // Another process has set the descriptor to O_NONBLOCK.
                _ = try? poll([(fileDescriptor, .writable)], until: nil)
            }
        }
        return rest
    }
}
