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
        /// How often the program has changed.
        var version = 0
        /// The file as it was when it was read.
        var stamp: FileStamp?
        var followers: [ObjectIdentifier: Follower] = [:]
    }

    /// A capture, and which version of the filter it has.
    private struct Follower {
        let capture: LiveCapture
        var version: Int?
        /// What kept it from having a newer one.
        var fault: String?
    }

    /// How often the file is looked at.
    private static let interval = Duration.milliseconds(500)

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
            let filter = try FilterFile.read(path)
            state.program = filter.program
            logger.info("filter read", metadata: Self.metadata(filter, path))
        }
        self.state = Mutex(state)
    }

    /// The filter; nil lets everything pass.
    var program: Program? { state.withLock { $0.program } }

    /// Has a capture follow the filter.
    ///
    /// - Parameters:
    ///   - capture: The capture.
    ///   - program: What it began with; the filter may have changed since.
    func add(_ capture: LiveCapture, with program: Program?) {
        state.withLock { state in
            let version = program == state.program ? state.version : nil
            state.followers[ObjectIdentifier(capture)] = Follower(
                capture: capture, version: version)
        }
    }

    func remove(_ capture: LiveCapture) {
        state.withLock { state in state.followers[ObjectIdentifier(capture)] = nil }
    }

    /// Has the file read now, whether it has changed or not; from any thread.
    func reload() { wish.raise() }

    /// Follows the file until the agent is to stop.
    func run(until stop: StopSignal, heartbeat: borrowing Watchdog.Heartbeat) {
        guard let path else { return }
        enum Awaited { case stop, wish }
        var look = Look()
        while true {
            heartbeat.beat()
            let ready: ReadyDescriptors<Awaited>
            do throws(SystemError) {
                ready = try poll(
                    [
                        Awaited.stop: (stop.fileDescriptor, .readable),
                        .wish: (wish.fileDescriptor, .readable),
                    ], until: .now + Self.interval)
            } catch {
                logger.error(
                    "the agent no longer follows the filter's file",
                    metadata: ["reason": "\(error)"])
                return
            }
            guard ready[.stop].isEmpty else { return }
            if !ready[.wish].isEmpty {
                wish.lower()
                look.isWished = true
            }
            renew(path, &look)
            install(heartbeat)
        }
    }
}

/// Steps of following the file.
extension AgentFilter {
    /// As much of a filter's text as a line of the log has.
    private static let shownCountMax = 256

    private static func metadata(_ filter: FilterExpression, _ path: String) -> Logger.Metadata {
        let text = filter.textInOneLine
        let isLong = text.count > shownCountMax
        return [
            "file": "\(path)",
            "filter": "\(isLong ? text.prefix(shownCountMax) + "…" : text[...])",
            "instructions": .number(filter.program.instructions.count),
        ]
    }

    /// What is known of the file from one look at it to the next.
    private struct Look {
        var stamp: FileStamp?
        /// Whether somebody waits for it to be read.
        var isWished = false
        /// What was wrong with it when it was read last.
        var fault: String?
    }

    /// Reads the file if it has changed, and changes no more: it may be half written.
    private func renew(_ path: String, _ look: inout Look) {
        let stamp = try? FileStamp(of: path)
        let isStill = stamp == look.stamp
        look.stamp = stamp
        guard isStill, look.isWished || stamp != state.withLock(\.stamp) else { return }
        let isWished = look.isWished
        do throws(FilterFile.Failure) {
            let filter = try FilterFile.read(path)
            guard stamp == (try? FileStamp(of: path)) else { return }
            state.withLock { state in
                (state.stamp, state.program) = (stamp, filter.program)
                state.version += 1
            }
            (look.fault, look.isWished) = (nil, false)
            logger.info("filter read again", metadata: Self.metadata(filter, path))
        } catch {
            look.isWished = false
            // What cannot be read is tried again; what is wrong is not, until it changes.
            if case .wrong = error { state.withLock { $0.stamp = stamp } }
            let fault = "\(error)"
            guard look.fault != fault || isWished else { return }
            look.fault = fault
            logger.warning("the filter stays as it was", metadata: ["reason": "\(fault)"])
        }
    }

    /// Gives the filter to the captures that have an older one, and tries again with those that refuse.
    private func install(_ heartbeat: borrowing Watchdog.Heartbeat) {
        let (program, version, late) = state.withLock { state in
            let late = state.followers.filter { $0.value.version != state.version }
            return (state.program, state.version, late)
        }
        for (key, follower) in late {
            // Each may take seconds.
            heartbeat.beat()
            do throws(SystemError) {
                try follower.capture.adopt(agentFilter: program)
                state.withLock { $0.followers[key]?.version = version }
            } catch {
                let fault = "\(error)"
                guard fault != follower.fault else { continue }
                state.withLock { $0.followers[key]?.fault = fault }
                logger.warning(
                    "a capture keeps its old filter for now", metadata: ["reason": "\(fault)"])
            }
        }
    }
}
