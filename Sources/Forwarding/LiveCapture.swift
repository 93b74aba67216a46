package import Settings
package import Edges
package import Metrics
package import BPF
package import Linux
package import Logging
package import RPCAP

import Glibc
import Observation
import Synchronization

/// What a capture is to do: where to look, what to report, and the settings that bound it.
package struct CapturePlan: Sendable {
    /// The edges and the rule, as they are at any time.
    package var feed: NodePublisher
    /// What of it the capture shows.
    package var scope: CaptureScope
    /// Whether connection tracking can be asked about calls to services.
    package var tracksConnections: Bool
    /// The sensor's filter; nil lets everything pass.
    package var filter: Program?
    /// What is set for captures; the snapshot length is the session's.
    package var settings: CaptureSettings
    /// Which of the packets that pass the filter are sent.
    package var sampling: Sampling
    /// The form of the datagrams, where packets are sent over UDP.
    package var datagramFormat: DatagramWriter.Format?
    /// When packets are sent by a thread of their own.
    package var transmission: Transmission

    package init(
        feed: NodePublisher, scope: CaptureScope = .stream, tracksConnections: Bool,
        filter: Program?,
        settings: CaptureSettings, sampling: Sampling = .none,
        datagramFormat: DatagramWriter.Format? = nil, transmission: Transmission = .whenFull
    ) {
        self.feed = feed
        self.scope = scope
        self.tracksConnections = tracksConnections
        self.filter = filter
        self.settings = settings
        self.sampling = sampling
        self.datagramFormat = datagramFormat
        self.transmission = transmission
    }

    /// The edges and the rule, as far as the capture shows them.
    package var snapshot: NodePublisher.Snapshot { feed.snapshot.limited(to: scope) }

    /// How much is kept of a frame: a PACKET message must fit into its datagram.
    var frameByteCountMax: Int {
        datagramFormat == .packet
            ? min(settings.snaplen, DatagramWriter.frameByteCountMax) : settings.snaplen
    }
}

/// A capture that is running: its rings, its filter, its counters, its queue and its threads.
///
/// One thread forwards packets, and while it is full another one sends them; one keeps the rings in step
/// with the node's edges. The thread that owns the session gives orders; the forwarder's carries them
/// out between two blocks, and the session waits for that.
package final class LiveCapture: Sendable {
    package let counters: CaptureCounters
    private let orders = Mutex(Orders())
    private let ordered: Event
    private let answered: Event
    private let ended: Event
    private let reason = Mutex<String?>(nil)
    private let threads = Mutex<[TransferBox<Thread>]>([])
    private let keeper = Mutex<RingManager?>(nil)
    private let logger: Logger

    private enum Order: Sendable {
        case tap(RingCommand)
        case attach(TransferBox<Outlet>)
        case sample(Sampling)
        case adopt(Program?, ticket: Int)
        case count(ticket: Int)
        /// The same for somebody else than the session.
        case countFor(@Sendable () -> Void)
        case finish
    }

    private struct Orders {
        var waiting: [Order] = []
        /// The order whose answer is waited for. The first one is to start.
        var ticket = startTicket
        var answer: SystemError??
    }

    private static let startTicket = 0

    /// Long enough for 250 edges' programs; a thread that takes longer is not coming back.
    private static let answerMillisecondsMax: CInt = 2000
    /// Long enough for a node with 500 edges and two million tracked flows.
    private static let startMillisecondsMax: CInt = 10_000
    /// A client asks for statistics often, and wants them soon rather than exact: where the forwarder
    /// has its hands full it gets what the kernel had counted before.
    private static let countMillisecondsMax: CInt = 50
    /// How long the queue is flushed when the capture ends.
    package static let finishMillisecondsMax = 1000

    /// Opens a ring at every place and starts to forward to the outlet. Waits for the kernel, some
    /// 20 ms on a node with few edges. An edge that cannot be captured is tried again, with a line
    /// in the log; an error is thrown if there are edges and none can be. What was counted until then,
    /// the counters have.
    package init(
        _ plan: CapturePlan, to outlet: consuming sending Outlet, for peerName: String,
        _ counters: CaptureCounters, _ pulses: Watchdog = Watchdog(), logger: Logger
    ) throws(SystemError) {
        self.counters = counters
        ordered = try Event()
        answered = try Event()
        ended = try Event()
        self.logger = logger

        let programs = ProgramPlan(
            plan.snapshot.rule, plan.filter, snaplen: plan.frameByteCountMax,
            keepsWhole: plan.settings.restoresWireForm)
        // Flows are listened for before the first packet can be there.
        let pipeline = try Pipeline(plan, programs.rule, counters: counters)
        if let failure = pipeline.trackingFailure {
            logger.warning(
                "connection tracking fails, calls to services are reported at backends' edges only",
                metadata: ["reason": "\(failure)"])
        }
        let keeper = try RingManager(
            plan.feed, plan.scope, programs, counters, logger: logger
        ) { [weak self] order in
            self?.give(.tap(order))
        }
        self.keeper.withLock { $0 = keeper }
        let forwarder = try Forwarder(
            programs, pipeline, outlet: outlet, plan.transmission, orders: ordered.fileDescriptor,
            counters: counters, logger: logger,
            prepareTransmitter: {
                Self.prepareThread("podwire-send", plan.settings.placement, logger)
                return pulses.begin("the sender of \(peerName)")
            },
            notes: { keeper.note($0) })
        let budget = RingBudget(byteCountMax: plan.settings.ringByteCountMax)
        try start(forwarder, keeper, budget, plan.settings.placement) {
            pulses.begin("\($0) of \(peerName)")
        }
        guard let error = waitForAnswer(milliseconds: Self.startMillisecondsMax) else { return }
        finish()
        throw error
    }

    private func start(
        _ forwarder: sending Forwarder, _ keeper: RingManager, _ budget: RingBudget,
        _ placement: ThreadPlacement, _ pulse: @escaping @Sendable (String) -> Watchdog.Heartbeat
    ) throws(SystemError) {
        let handover = TransferBox(forwarder)
        let forwarding = [
            TransferBox(
                try Thread { [self] in
                    Self.prepareThread("podwire-forward", placement, logger)
                    if let forwarder = handover.take() { run(forwarder, pulse("the forwarder")) }
                    // The forwarder is gone, so the keeper has the last holds on its rings, and can
                    // close many at once.
                    self.keeper.withLock { $0.take() }?.end()
                    ended.raise()
                })
        ]
        threads.withLock { $0 = forwarding }
        do throws(SystemError) {
            let keeping = [
                TransferBox(
                    try Thread { [self] in
                        keeper.run(budget, pulse("the keeper of the rings")) {
                            answer($0, to: Self.startTicket)
                        }
                    }
                )
            ]
            threads.withLock { $0 += keeping }
        } catch {
            finish()
            throw error
        }
    }

    /// The agent has tried this when it began. What has been taken from it since is no reason to capture
    /// nothing.
    private static func prepareThread(
        _ name: String, _ placement: ThreadPlacement, _ logger: Logger
    ) {
        nameThread(name)
        do throws(ThreadPlacement.Failure) {
            try placement.apply()
        } catch {
            logger.warning(
                "a forwarding thread is not where it should be",
                metadata: ["thread": "\(name)", "reason": "\(error)"])
        }
    }

    /// For a poll set: readable when the capture has ended by itself, as when the sensor closes the
    /// data connection.
    package var endedNumber: CInt { ended.fileDescriptor }

    /// Why it ended by itself.
    package var endReason: String? { reason.withLock { $0 } }

    /// Puts another filter in force, at each edge between two packets.
    package func adopt(_ filter: Program?) throws(SystemError) {
        keeper.withLock { $0?.set(filter) }
        let error = ask(milliseconds: Self.answerMillisecondsMax) { .adopt(filter, ticket: $0) }
        if let error { throw error }
    }

    /// Has the client get another part of the packets; from the next block on.
    package func adopt(sampling: Sampling) {
        give(.sample(sampling))
    }

    /// Has the packets go there, those first that have waited: for a capture whose outlet was awaited.
    package func attach(_ outlet: consuming sending Outlet) {
        give(.attach(TransferBox(outlet)))
    }

    /// Brings the counters up to date with the kernel's, if that can be had within 50 ms.
    package func count() {
        _ = ask(milliseconds: Self.countMillisecondsMax) { .count(ticket: $0) }
    }

    /// Has the counters brought up to date with the kernel's, and calls `done` then, on the forwarder's
    /// thread. Answers false if that has been asked for before and is still to come. Never waits.
    package func count(then done: @escaping @Sendable () -> Void) -> Bool {
        let isNew = orders.withLock { orders in
            for order in orders.waiting { if case .countFor = order { return false } }
            orders.waiting.append(.countFor(done))
            return true
        }
        if isNew { ordered.raise() }
        return isNew
    }

    /// Stops: forwards what is in the rings and the queue for at most a second, and closes the data
    /// connection. Returns when that has happened.
    package func finish() {
        give(.finish)
        for thread in threads.withLock({ $0 }) { thread.take()?.join() }
    }

    private func give(_ order: Order) {
        orders.withLock { $0.waiting.append(order) }
        ordered.raise()
    }

    private func ask(milliseconds: CInt, _ order: (Int) -> Order) -> SystemError? {
        orders.withLock { orders in
            // An answer that comes too late for the order before is not taken for this one's.
            orders.ticket += 1
            orders.answer = nil
            answered.lower()
            orders.waiting.append(order(orders.ticket))
        }
        ordered.raise()
        return waitForAnswer(milliseconds: milliseconds)
    }

    private func waitForAnswer(milliseconds: CInt) -> SystemError? {
        let ready = try? poll(
            [(answered.fileDescriptor, .readable), (ended.fileDescriptor, .readable)],
            milliseconds: milliseconds)
        guard let ready, ready[0].contains(.readable) else {
            return SystemError("wait for the capture", .timedOut)
        }
        answered.lower()
        return orders.withLock { $0.answer ?? nil }
    }

    private func answer(_ answer: SystemError?, to ticket: Int) {
        orders.withLock { orders in
            guard ticket == orders.ticket else { return }
            orders.answer = .some(answer)
            answered.raise()
        }
    }
}

extension LiveCapture {
    /// Forwards from the first ring to the last byte.
    private func run(_ forwarder: consuming Forwarder, _ pulse: consuming Watchdog.Heartbeat) {
        do {
            while try !obey(
                forwarder, hasOrder: forwarder.turn(milliseconds: Watchdog.waitMilliseconds)),
                !forwarder.isOver
            {
                pulse.beat()
            }
            if forwarder.isOver { reason.withLock { $0 = "the edge is gone" } }
            try forwarder.finish(milliseconds: Self.finishMillisecondsMax)
        } catch {
            reason.withLock { $0 = "\(error)" }
        }
        forwarder.settleAccounts()
    }

    /// Carries out what has been ordered. Answers whether that was to finish.
    private func obey(_ forwarder: Forwarder, hasOrder: Bool) throws -> Bool {
        guard hasOrder else { return false }
        ordered.lower()
        let waiting = orders.withLock { orders in
            defer { orders.waiting = [] }
            return orders.waiting
        }
        for order in waiting {
            switch order {
            case .finish: return true
            case .tap(let order): try forwarder.obey(order)
            case .attach(let outlet):
                if let outlet = outlet.take() { try forwarder.attach(outlet) }
            case .sample(let sampling): forwarder.adopt(sampling)
            case .count(let ticket):
                answer(error { () throws(SystemError) in try forwarder.countKernel() }, to: ticket)
            case .countFor(let done):
                // Where that fails the next turn finds out.
                try? forwarder.countKernel()
                done()
            case .adopt(let filter, let ticket):
                answer(error { () throws(SystemError) in try forwarder.adopt(filter) }, to: ticket)
            }
        }
        return false
    }

    private func error(of body: () throws(SystemError) -> Void) -> SystemError? {
        do throws(SystemError) {
            try body()
            return nil
        } catch {
            return error
        }
    }
}
