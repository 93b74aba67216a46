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

/// A session's capture, which runs: it sends commands to the threads, and ends the session's part.
package final class LiveCapture: Sendable {
    /// What the session has counted.
    package let counters: CaptureCounters
    private let core: CaptureCore
    /// The hub of which the capture is; nil if the session has one of its own.
    private let hub: CaptureHub?
    private let key: UInt64
    private let ending: OutletEnding
    private let arrival: Reply.Arrival
    private let hasFinished = Mutex(false)

    /// How long the kernel's counts are waited for.
    ///
    /// A client asks for statistics often, and wants them soon rather than exact.
    private static let countTime = Duration.milliseconds(50)
    /// How much longer than for what waits to be sent a busy forwarder is waited for.
    private static let leaveTime = Duration.seconds(5)
    /// The longest filter with which a session shares a capture.
    ///
    /// Where filters differ all of them run in user space, for each packet: a long one would take the
    /// other sessions' time.
    private static let sharedInstructionCountMax = 256

    /// Begins to capture and to forward to the connection, or joins a capture that runs.
    ///
    /// It waits for the kernel, about 20 ms on a node with few edges. An edge that cannot be captured
    /// is tried again, with a line in the log.
    ///
    /// - Parameters:
    ///   - plan: What the capture does.
    ///   - connection: Where the packets go.
    ///   - peerName: Names the session's threads for the watchdog.
    ///   - counters: Counts; it keeps what was counted if this throws.
    ///   - hub: Has the capture that sensors share; nil for a client, which has one of its own.
    ///   - watchdog: Watches the threads.
    ///   - logger: Gets what a person should know.
    /// - Throws: If there are edges and none can be captured.
    package init(
        _ plan: CapturePlan, to connection: consuming sending DataConnection, for peerName: String,
        _ counters: CaptureCounters, in hub: CaptureHub? = nil, _ watchdog: Watchdog = Watchdog(),
        logger: Logger
    ) throws(SystemError) {
        self.counters = counters
        let isClient = hub == nil
        let hub = Self.canShare(plan) ? hub : nil
        self.hub = hub
        let key = Outlet.nextKey()
        let ending = try OutletEnding()
        (self.key, self.ending) = (key, ending)
        arrival = try Reply.Arrival()
        let sender = try Sender(
            connection, queueByteCount: plan.settings.queueByteCountMax, plan.senderPolicy,
            counters, logger: logger
        ) { [placement = plan.settings.placement] in
            CaptureCore.prepareThread("podwire-send", placement, logger)
            return watchdog.begin("the sender of \(peerName)")
        }
        let outlet = Outlet(plan.form, sender, key: key, counters, ending, logger: logger)
        core =
            if let hub {
                try hub.join(plan, outlet, as: key)
            } else {
                try CaptureCore(
                    plan, TransferBox(outlet), for: peerName, isClient: isClient, watchdog,
                    logger: logger)
            }
    }
}

extension LiveCapture {
    /// Whether a session can share a capture with others, whatever they want.
    ///
    /// Frames that are sent as captured are cut in the kernel, at the length that one session wants.
    private static func canShare(_ plan: CapturePlan) -> Bool {
        plan.scope == .stream && plan.settings.restoresWireForm
            && plan.form.peerFilter?.instructions.count ?? 0 <= sharedInstructionCountMax
    }

    /// A descriptor for a poll set: readable when the capture has ended by itself.
    ///
    /// It does so when the sensor closes the data connection, for example.
    package var endedFileDescriptor: CInt { ending.event.fileDescriptor }

    /// Why the capture ended by itself.
    package var endReason: CaptureEnd? { ending.reason }

    /// The gauges of the rings, which belong to all sessions of the capture.
    package var gauges: CaptureCounters { core.counters }

    /// Installs another filter, at each edge between two packets, and waits for that.
    package func adopt(_ filter: Program?) throws(SystemError) {
        try core.ask(arrival) { .filter(filter, outlet: key, $0) }
    }

    /// Installs another filter of the agent's beside the session's, as above.
    package func adopt(agentFilter: Program?) throws(SystemError) {
        try core.ask(try Reply.Arrival()) { .agentFilter(agentFilter, outlet: key, $0) }
    }

    /// Sends another part of the packets, from the next block on.
    package func adopt(sampling: Sampling) {
        core.commands.send(.sample(sampling, outlet: key))
    }

    /// Uses a data connection from now on, for a capture that awaits it.
    ///
    /// What has waited is sent first.
    package func attach(_ connection: consuming sending DataConnection) {
        core.commands.send(.attach(TransferBox(connection), outlet: key))
    }

    /// Brings the counters up to date with the kernel's, if that can be had within 50 ms.
    package func count() {
        try? core.ask(arrival, within: Self.countTime) { .count($0) }
    }

    /// Brings the counters up to date with the kernel's, and never waits.
    ///
    /// - Parameter done: Called afterwards, on the forwarder's thread.
    /// - Returns: False if that was asked for before and is still to come; then `done` is not called.
    package func count(then done: @escaping @Sendable () -> Void) -> Bool {
        core.commands.send(.countThen(done), unlessWaiting: \.isCountThen)
    }

    /// Ends the session's part, and waits at most a second until what is in rings and queue is sent.
    ///
    /// The capture ends with its last session.
    package func finish() {
        let isFirst = hasFinished.withLock { hasFinished in
            defer { hasFinished = true }
            return !hasFinished
        }
        guard isFirst else { return }
        guard let hub, hub.leave(core) else { return core.finish() }
        let deadline = MonotonicTime.now + Forwarder.finishTime
        try? core.ask(arrival, within: Forwarder.finishTime + Self.leaveTime) {
            .leave(outlet: key, by: deadline, $0)
        }
        // If the forwarder has not come to it yet, nothing more counts as the session's.
        counters.leave(isEarly: true)
    }
}

extension Forwarder.Command {
    fileprivate var isCountThen: Bool {
        if case .countThen = self { true } else { false }
    }
}
