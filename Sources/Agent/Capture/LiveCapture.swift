package import BPF
package import Kernel
package import Logging

import Glibc
import Observation
import Synchronization

/// What a capture is to do: where to look, what to report, how much memory to take.
package struct CapturePlan: Sendable {
    /// The edges and the rule, as they are at any time.
    package var feed: NodeFeed
    /// Whether connection tracking can be asked about calls to services.
    package var tracksConnections: Bool
    /// The sensor's filter; nil lets everything pass.
    package var filter: Program?
    package var snaplen: Int
    package var ringByteCountMax: Int
    package var queueByteCountMax: Int

    package init(
        feed: NodeFeed, tracksConnections: Bool, filter: Program?, snaplen: Int,
        ringByteCountMax: Int, queueByteCountMax: Int
    ) {
        self.feed = feed
        self.tracksConnections = tracksConnections
        self.filter = filter
        self.snaplen = snaplen
        self.ringByteCountMax = ringByteCountMax
        self.queueByteCountMax = queueByteCountMax
    }
}

/// A capture that is running: its rings, its filter, its counters, its queue and its two threads.
///
/// One thread forwards packets, the other keeps the rings in step with the node's edges. The thread
/// that owns the session gives orders; the forwarder's carries them out between two blocks, and the
/// session waits for that.
package final class LiveCapture: Sendable {
    package let counters = CaptureCounters()
    private let orders = Mutex<(waiting: [Order], answer: Answer?)>(([], nil))
    private let ordered: Event
    private let answered: Event
    private let ended: Event
    private let reason = Mutex<String?>(nil)
    private let threads = Mutex<[Handover<Thread>]>([])
    private let keeper = Mutex<RingKeeper?>(nil)
    private let logger: Logger

    private enum Order: Sendable {
        case tap(TapOrder)
        case adopt(Program?)
        case count
        case finish
    }

    private typealias Answer = SystemError?

    /// Long enough for 250 edges' programs; a thread that takes longer is not coming back.
    private static let answerMillisecondsMax: CInt = 2000
    /// Long enough for a node with 500 edges and two million tracked flows.
    private static let startMillisecondsMax: CInt = 10_000
    /// How long the queue is flushed when the capture ends.
    package static let finishMillisecondsMax = 1000

    /// Opens a ring at every place and starts to forward to the socket. Waits for the kernel, some
    /// 20 ms on a node with few edges. An edge that cannot be captured is tried again, with a line
    /// in the log; an error is thrown if there are edges and none can be.
    package init(
        _ plan: CapturePlan, to socket: consuming Descriptor, logger: Logger
    ) throws(SystemError) {
        ordered = try Event()
        answered = try Event()
        ended = try Event()
        self.logger = logger

        let programs = ProgramPlan(plan.feed.snapshot.rule, plan.filter, snaplen: plan.snaplen)
        // Flows are listened for before the first packet can be there.
        let pipeline = try Pipeline(plan, programs.rule, counters: counters)
        if let failure = pipeline.trackingFailure {
            logger.warning(
                "connection tracking fails, calls to services are reported at backends' edges only",
                metadata: ["reason": "\(failure)"])
        }
        let keeper = try RingKeeper(plan.feed, programs, logger: logger) { [weak self] order in
            self?.give(.tap(order))
        }
        self.keeper.withLock { $0 = keeper }
        let forwarder = try Forwarder(
            programs, pipeline, socket: socket, orders: ordered.number, counters: counters
        ) { keeper.note($0) }
        try start(forwarder, keeper, RingBudget(byteCountMax: plan.ringByteCountMax))
        guard let error = waitForAnswer(milliseconds: Self.startMillisecondsMax) else { return }
        finish()
        throw error
    }

    private func start(
        _ forwarder: sending Forwarder, _ keeper: RingKeeper, _ budget: RingBudget
    ) throws(SystemError) {
        let handover = Handover(forwarder)
        let forwarding = [
            Handover(
                try Thread { [self] in
                    nameThread("podwire-forward")
                    if let forwarder = handover.take() { run(forwarder) }
                    // The forwarder is gone, so the keeper has the last holds on its rings, and can
                    // close many at once.
                    self.keeper.withLock { $0.take() }?.end()
                    ended.raise()
                })
        ]
        threads.withLock { $0 = forwarding }
        do throws(SystemError) {
            let keeping = [Handover(try Thread { [self] in keeper.run(budget) { answer($0) } })]
            threads.withLock { $0 += keeping }
        } catch {
            finish()
            throw error
        }
    }

    /// For a poll set: readable when the capture has ended by itself, as when the sensor closes the
    /// data connection.
    package var endedNumber: CInt { ended.number }

    /// Why it ended by itself.
    package var endReason: String? { reason.withLock { $0 } }

    /// Puts another filter in force, at each edge between two packets.
    package func adopt(_ filter: Program?) throws(SystemError) {
        keeper.withLock { $0?.set(filter) }
        if let error = ask(.adopt(filter)) { throw error }
    }

    /// Brings the counters up to date with the kernel's.
    package func count() {
        _ = ask(.count)
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

    private func ask(_ order: Order) -> Answer {
        // An answer that came too late for the order before must not be taken for this one's.
        answered.lower()
        orders.withLock { $0.answer = nil }
        give(order)
        return waitForAnswer(milliseconds: Self.answerMillisecondsMax)
    }

    private func waitForAnswer(milliseconds: CInt) -> Answer {
        let ready = try? poll(
            [(answered.number, .readable), (ended.number, .readable)],
            milliseconds: milliseconds)
        guard let ready, ready[0].contains(.readable) else {
            return SystemError("wait for the capture", ETIMEDOUT)
        }
        answered.lower()
        return orders.withLock { $0.answer ?? nil }
    }

    private func answer(_ answer: SystemError?) {
        orders.withLock { $0.answer = .some(answer) }
        answered.raise()
    }
}

extension LiveCapture {
    /// Forwards from the first ring to the last byte.
    private func run(_ forwarder: consuming Forwarder) {
        do {
            while try !obey(forwarder, hasOrder: forwarder.turn(milliseconds: -1)) {}
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
            case .count: answer(error { () throws(SystemError) in try forwarder.countKernel() })
            case .adopt(let filter):
                answer(error { () throws(SystemError) in try forwarder.adopt(filter) })
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
