import BPF
import Filter
import Forwarding
import Linux
import Log
import Logging
import Metrics
import Settings
import Synchronization
import Time

/// The agent's own filter, which all captures have, and which a file can change while they run.
final class AgentFilter: Sendable {
    private let path: String?
    private let state: Mutex<State>
    /// Raised to have the file read now.
    private let wish: Event
    private let logger: Logger

    private struct State {
        var program: Program?
        var stamp: FileStamp?
        var captures: [ObjectIdentifier: LiveCapture] = [:]
        /// What was wrong with the file when it was looked at last.
        var fault: String?
    }

    /// How often the file is looked at.
    private static let interval = Duration.seconds(1)

    /// Reads the file if there is one.
    ///
    /// - Throws: What is wrong with it.
    init(_ settings: SelectionSettings, logger: Logger) throws {
        path = settings.filterFile
        self.logger = logger
        wish = try Event()
        var state = State(program: settings.filter?.program)
        if let path {
            // The stamp comes first, so that a change in between is seen the next time.
            state.stamp = try? FileStamp(of: path)
            state.program = try FilterFile.read(path).program
        }
        self.state = Mutex(state)
    }

    /// The filter; nil lets everything pass.
    var program: Program? { state.withLock { $0.program } }

    /// Has a capture follow the filter.
    func add(_ capture: LiveCapture, with program: Program?) {
        let current = state.withLock { state in
            state.captures[ObjectIdentifier(capture)] = capture
            return state.program
        }
        // It may have changed while the capture began.
        if current != program { install(current, in: capture) }
    }

    func remove(_ capture: LiveCapture) {
        state.withLock { state in state.captures[ObjectIdentifier(capture)] = nil }
    }

    /// Has the file read now, whether it has changed or not; from any thread.
    func reload() { wish.raise() }

    /// Follows the file until the agent is to stop.
    func run(until stop: StopSignal, heartbeat: borrowing Watchdog.Heartbeat) {
        guard let path else { return }
        enum Awaited { case stop, wish }
        while true {
            heartbeat.beat()
            let ready = try? poll(
                [
                    Awaited.stop: (stop.fileDescriptor, .readable),
                    .wish: (wish.fileDescriptor, .readable),
                ], until: .now + Self.interval)
            guard let ready, ready[.stop].isEmpty else { return }
            let isWished = !ready[.wish].isEmpty
            if isWished { wish.lower() }
            renew(path, isWished: isWished)
        }
    }

    private func renew(_ path: String, isWished: Bool) {
        let stamp = try? FileStamp(of: path)
        let isNew = state.withLock { state in
            defer { state.stamp = stamp }
            return state.stamp != stamp
        }
        guard isNew || isWished else { return }
        do throws(FilterFile.Failure) {
            let filter = try FilterFile.read(path)
            let captures = state.withLock { state in
                state.program = filter.program
                state.fault = nil
                return Array(state.captures.values)
            }
            for capture in captures { install(filter.program, in: capture) }
            logger.info(
                "filter read again",
                metadata: [
                    "file": "\(path)", "filter": "\(filter.text)",
                    "instructions": .number(filter.program.instructions.count),
                ])
        } catch {
            let fault = "\(error)"
            let isNews = state.withLock { state in
                defer { state.fault = fault }
                return state.fault != fault || isWished
            }
            guard isNews else { return }
            logger.warning("the filter stays as it was", metadata: ["reason": "\(fault)"])
        }
    }

    private func install(_ program: Program?, in capture: LiveCapture) {
        do throws(SystemError) {
            try capture.adopt(agentFilter: program)
        } catch {
            logger.warning(
                "a capture keeps its old filter", metadata: ["reason": "\(error)"])
        }
    }
}
