package import BPF
import Edges
package import Linux
package import Logging
package import Metrics
import Observation
package import RPCAP
import Settings
import Synchronization
import Time

/// A capture that runs: it starts its threads, sends them commands, and stops them.
///
/// The forwarder's thread forwards packets (`Forwarder`), and a second one sends while that is busy
/// (`Sender`). The ring manager's thread opens and closes rings (`RingManager`).
package final class LiveCapture: Sendable {
    /// What the capture has counted.
    package let counters: CaptureCounters
    private let commands: Mailbox<Forwarder.Command>
    private let manager: RingManager
    private let arrival: Reply.Arrival
    /// Raised when the forwarder's thread has ended.
    private let ended: Event
    private let reason = Mutex<CaptureEnd?>(nil)
    private let threads = Mutex<[TransferBox<Thread>]>([])
    private let logger: Logger

    /// Long enough for the programs of 250 edges; a thread that takes longer is not coming back.
    private static let replyTime = Duration.seconds(2)
    /// Long enough for a node with 500 edges and two million tracked flows.
    private static let startTime = Duration.seconds(10)
    /// How long the kernel's counts are waited for.
    ///
    /// A client asks for statistics often, and wants them soon rather than exact.
    private static let countTime = Duration.milliseconds(50)

    /// Opens a ring at every edge, and begins to forward to the connection.
    ///
    /// It waits for the kernel, about 20 ms on a node with few edges. An edge that cannot be captured
    /// is tried again, with a line in the log.
    ///
    /// - Parameters:
    ///   - plan: What the capture does.
    ///   - connection: Where the packets go.
    ///   - peerName: Names the capture's threads for the watchdog.
    ///   - counters: Counts; it keeps what was counted if this throws.
    ///   - watchdog: Watches the capture's threads.
    ///   - logger: Gets what a person should know.
    /// - Throws: If there are edges and none can be captured.
    package init(
        _ plan: CapturePlan, to connection: consuming sending DataConnection, for peerName: String,
        _ counters: CaptureCounters, _ watchdog: Watchdog = Watchdog(), logger: Logger
    ) throws(SystemError) {
        self.counters = counters
        self.logger = logger
        ended = try Event()
        arrival = try Reply.Arrival()
        // No command is lost, since that would leak a ring. A session has few under way, and the ring
        // manager a few for each edge.
        commands = try Mailbox(countMax: .max)
        let programs = ProgramPlan(
            plan.snapshot.rule, plan.filter, snaplen: plan.frameByteCountMax,
            keepsWhole: plan.settings.restoresWireForm)
        manager = try RingManager(
            plan.feed, plan.scope, programs, plan.podSockets, counters, logger: logger
        ) { [commands] in commands.send(.ring($0)) }
        // Flows are listened for before the first packet can be there.
        let pipeline = try Pipeline(plan, programs.rule, counters: counters, now: .now)
        if let failure = pipeline.trackingFailure {
            logger.warning(
                "connection tracking fails, calls to services are reported at backends' edges only",
                metadata: ["reason": "\(failure)"])
        }
        let sender = try Sender(
            connection, queueByteCount: plan.settings.queueByteCountMax, plan.senderPolicy,
            counters,
            logger: logger
        ) { [placement = plan.settings.placement] in
            Self.prepareThread("podwire-send", placement, logger)
            return watchdog.begin("the sender of \(peerName)")
        }
        let forwarder = try Forwarder(
            programs, pipeline, sender, commands: commands, manager: manager, counters: counters,
            silenceTime: plan.silenceTime, logger: logger)
        try start(forwarder, plan) { watchdog.begin("\($0) of \(peerName)") }
    }

    private func start(
        _ forwarder: sending Forwarder, _ plan: CapturePlan,
        _ heartbeat: @escaping @Sendable (String) -> Watchdog.Heartbeat
    ) throws(SystemError) {
        let box = TransferBox(forwarder)
        let placement = plan.settings.placement
        try startThread { [self] in
            Self.prepareThread("podwire-forward", placement, logger)
            if let forwarder = box.take() {
                let reason = forwarder.run(heartbeat("the forwarder"))
                self.reason.withLock { $0 = reason }
            }
            // The forwarder is gone, so the manager has the last leases on its rings, and can close
            // many at once.
            manager.post(.end)
            ended.raise()
        }
        do throws(SystemError) {
            let began = Reply(arrival)
            try startThread { [self, memory = plan.ringMemory] in
                manager.run(memory, heartbeat("the ring manager")) { began.give($0) }
            }
            try began.wait(until: .now + Self.startTime, orFor: ended.fileDescriptor)
        } catch {
            finish()
            throw error
        }
    }

    private func startThread(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let thread = TransferBox(try Thread(body))
        threads.withLock { $0.append(thread) }
    }

    /// Names and places the calling thread.
    ///
    /// The agent has tried the placement when it began. That it fails now is no reason to capture
    /// nothing.
    private static func prepareThread(
        _ name: String, _ placement: ThreadPlacement, _ logger: Logger
    ) {
        nameThread(name)
        do throws(ThreadPlacement.Failure) {
            try placement.apply()
        } catch {
            logger.warning(
                "cannot set CPU affinity or niceness",
                metadata: ["thread": "\(name)", "reason": "\(error)"])
        }
    }
}

extension LiveCapture {
    /// A descriptor for a poll set: readable when the capture has ended by itself.
    ///
    /// It does so when the sensor closes the data connection, for example.
    package var endedFileDescriptor: CInt { ended.fileDescriptor }

    /// Why the capture ended by itself.
    package var endReason: CaptureEnd? { reason.withLock { $0 } }

    /// Installs another filter, at each edge between two packets, and waits for that.
    package func adopt(_ filter: Program?) throws(SystemError) {
        manager.post(.filter(filter))
        try ask(within: Self.replyTime) { .filter(filter, $0) }
    }

    /// Sends another part of the packets, from the next block on.
    package func adopt(sampling: Sampling) {
        commands.send(.sample(sampling))
    }

    /// Uses a data connection from now on, for a capture that awaits it.
    ///
    /// What has waited is sent first.
    package func attach(_ connection: consuming sending DataConnection) {
        commands.send(.attach(TransferBox(connection)))
    }

    /// Brings the counters up to date with the kernel's, if that can be had within 50 ms.
    package func count() {
        try? ask(within: Self.countTime) { .count($0) }
    }

    /// Brings the counters up to date with the kernel's, and never waits.
    ///
    /// - Parameter done: Called afterwards, on the forwarder's thread.
    /// - Returns: False if that was asked for before and is still to come; then `done` is not called.
    package func count(then done: @escaping @Sendable () -> Void) -> Bool {
        commands.send(.countThen(done), unlessWaiting: \.isCountThen)
    }

    /// Stops the capture, and waits at most a second until what is in rings and queue is sent.
    package func finish() {
        commands.send(.finish)
        for thread in threads.withLock({ $0 }) { thread.take()?.join() }
    }

    private func ask(
        within time: Duration, _ command: (Reply) -> Forwarder.Command
    ) throws(SystemError) {
        let reply = Reply(arrival)
        commands.send(command(reply))
        try reply.wait(until: .now + time, orFor: ended.fileDescriptor)
    }
}

extension Forwarder.Command {
    fileprivate var isCountThen: Bool {
        if case .countThen = self { true } else { false }
    }
}
