package import Linux

import Glibc
import Synchronization

/// Writes lines on a thread of its own, so that who logs never waits for who reads.
///
/// A pipe that nobody empties, a terminal that is held and a disk that hangs all stop a write, for as
/// long as they like. Then lines wait here, and of more than there is room for the latest are lost, and
/// counted.
package final class LogWriter: Sendable {
    private let fileDescriptor: CInt
    private let state = Mutex(State())
    /// Raised when there is something to write, and when all is written.
    private let filled: Event
    private let emptied: Event

    private struct State {
        var waiting: [UInt8] = []
        /// Whether the thread is at work on what has waited.
        var isWriting = false
        var lostCount = 0
    }

    /// Some thousand lines: more than an agent with all its edges and clients says at once. As much
    /// again is with the thread.
    package static let byteCountMax = 256 << 10

    /// Writes to a descriptor that stays open for as long as the program runs.
    package init(to fileDescriptor: CInt) throws(SystemError) {
        self.fileDescriptor = fileDescriptor
        filled = try Event()
        emptied = try Event()
        try Thread { [self] in
            nameThread("podwire-log")
            run()
        }.detach()
    }

    /// Has a line written that is made of the number of those lost before it. Never waits for a
    /// reader.
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

    /// Waits until all is written, or the time is over.
    package func flush(milliseconds: UInt64) {
        let deadline = monotonicNanoseconds() + milliseconds * 1_000_000
        while state.withLock({ $0.isWriting || !$0.waiting.isEmpty }) {
            let now = monotonicNanoseconds()
            guard now < deadline else { return }
            let rest = CInt(clamping: (deadline - now) / 1_000_000 + 1)
            _ = try? poll([(emptied.fileDescriptor, .readable)], milliseconds: rest)
            emptied.lower()
        }
    }

    private func run() {
        var isMidLine = false
        while true {
            _ = try? poll([(filled.fileDescriptor, .readable)], milliseconds: -1)
            filled.lower()
            while let bytes = takeWaiting() {
                let rest = write((isMidLine ? [UInt8(ascii: "\n")] : []) + bytes)
                // What a failure has cut off must not be taken for the begin of the next line.
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

    /// Answers what could not be written, as to a pipe that is closed or a disk that is full.
    private func write(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        var rest = bytes[...]
        while !rest.isEmpty {
            do throws(SystemError) {
                rest = rest.dropFirst(try writeSome(rest, to: fileDescriptor, "the log"))
            } catch {
                guard error.errno == .wouldBlock else { return rest }
                // Somebody else who has the descriptor has made it so that writes do not wait.
                _ = try? poll([(fileDescriptor, .writable)], milliseconds: -1)
            }
        }
        return rest
    }
}
