import BPF
import Edges
import Linux
import Log
import Logging
import Metrics
import Observation
import RPCAP
import Settings
import Synchronization
import Time

/// The threads of a capture: what its sessions share.
///
/// The forwarder's thread forwards packets (`Forwarder`), and for each session a second one sends while
/// that is busy (`Sender`). The ring manager's thread opens and closes rings (`RingManager`).
final class CaptureCore: Sendable {
    /// What is counted once for all sessions, and the gauges of rings.
    let counters = CaptureCounters()
    let commands: Mailbox<Forwarder.Command>
    private let manager: RingManager
    private let arrival: Reply.Arrival
    /// Raised when the forwarder's thread has ended.
    let ended: Event
    private let hasEnded = Flag(false)
    private let threads = Mutex<[TransferBox<Thread>]>([])
    private let logger: Logger

    private static let crowdedText = """
        the filter does not fit into the kernel beside the rule, so user space runs it on a copy of each \
        packet: a network takes less than many hosts, a range less than many ports
        """

    /// Long enough for the programs of 250 edges; a thread that takes longer is not coming back.
    private static let replyTime = Duration.seconds(2)
    /// Long enough for a node with 500 edges and two million tracked flows.
    private static let startTime = Duration.seconds(10)

    /// Opens a ring at every edge, and begins to forward to the first session.
    ///
    /// It waits for the kernel, about 20 ms on a node with few edges. An edge that cannot be captured
    /// is tried again, with a line in the log.
    ///
    /// - Parameters:
    ///   - plan: What the capture does.
    ///   - outlet: The first session's part.
    ///   - name: Names the capture's threads for the watchdog.
    ///   - isClient: Whether the session is a client's.
    ///   - watchdog: Watches them.
    ///   - logger: Gets what a person should know.
    /// - Throws: If there are edges and none can be captured.
    init(
        _ plan: CapturePlan, _ outlet: TransferBox<Outlet>, for name: String,
        isClient: Bool = false, _ watchdog: Watchdog, logger: Logger
    ) throws(SystemError) {
        self.logger = logger
        ended = try Event()
        arrival = try Reply.Arrival()
        // No command is lost, since that would leak a ring. A session has few under way, and the ring
        // manager a few for each edge.
        commands = try Mailbox(countMax: .max)
        let programs = ProgramPlan(
            plan.snapshot.rule, plan.form, restoresWireForm: plan.settings.restoresWireForm,
            sample: plan.settings.selection.sample)
        manager = try RingManager(
            plan.feed, plan.scope, programs, plan.podSockets, counters, logger: logger
        ) { [commands] in commands.send(.ring($0)) }
        if let form = programs.filterWithoutRoom(at: plan.snapshot.edges) {
            logger.warning("\(Self.crowdedText)", metadata: ["instructions": .number(form)])
        }
        // Flows are listened for before the first packet can be there.
        let pipeline = try Pipeline(plan, programs.rule, counters: counters, now: .now)
        if let failure = pipeline.trackingFailure {
            logger.warning(
                "connection tracking fails, calls to services are reported at backends' edges only",
                metadata: ["reason": "\(failure)"])
        }
        guard let outlet = outlet.take() else {
            throw SystemError("begin a capture", .canceled)
        }
        let forwarder = try Forwarder(
            programs, pipeline, outlet, plan.settings, commands: commands, manager: manager,
            counters: counters, silenceTime: plan.silenceTime, logger: logger)
        try start(forwarder, plan, isClient: isClient) { watchdog.begin("\($0) of \(name)") }
    }

    private func start(
        _ forwarder: sending Forwarder, _ plan: CapturePlan, isClient: Bool,
        _ heartbeat: @escaping @Sendable (String) -> Watchdog.Heartbeat
    ) throws(SystemError) {
        let box = TransferBox(forwarder)
        let placement = plan.settings.placement
        try startThread { [self] in
            Self.prepareThread("podwire-forward", placement, logger)
            if let forwarder = box.take() { forwarder.run(heartbeat("the forwarder")) }
            hasEnded.set(true)
            // The forwarder is gone, so the manager has the last leases on its rings, and can close
            // many at once.
            manager.post(.end)
            ended.raise()
        }
        do throws(SystemError) {
            let began = Reply(arrival)
            try startThread { [self, memory = plan.ringMemory] in
                manager.run(memory, isClient: isClient, heartbeat("the ring manager")) {
                    began.give($0)
                }
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
    static func prepareThread(
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

extension CaptureCore {
    /// Whether further sessions can join.
    var isRunning: Bool { !hasEnded.isSet }

    /// Gives another session a part of the capture, and waits for that.
    ///
    /// - Throws: If that is impossible, or if the capture has just ended.
    func join(_ outlet: TransferBox<Outlet>, as key: UInt64) throws(SystemError) {
        do throws(SystemError) {
            try ask(arrival) { .join(outlet, $0) }
        } catch {
            // A forwarder that comes to it too late must not keep it.
            if error.errno == .timedOut, isRunning {
                commands.send(.leave(outlet: key, by: .now, nil))
            }
            throw error
        }
    }

    /// Sends a command, and waits for the reply.
    ///
    /// - Parameters:
    ///   - arrival: The event of the calling thread's replies.
    ///   - time: The longest time to wait.
    ///   - command: Makes the command, which gives the reply.
    /// - Throws: What the reply says, or that none has come.
    func ask(
        _ arrival: Reply.Arrival, within time: Duration = replyTime,
        _ command: (Reply) -> Forwarder.Command
    ) throws(SystemError) {
        let reply = Reply(arrival)
        commands.send(command(reply))
        try reply.wait(until: .now + time, orFor: ended.fileDescriptor)
    }

    /// Ends the capture for all sessions, and waits at most a second until what is in rings and queues
    /// is sent.
    func finish() {
        commands.send(.finish)
        for thread in threads.withLock({ $0 }) { thread.take()?.join() }
    }
}
