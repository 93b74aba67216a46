package import BPF
package import Kernel
package import Logging
package import Observation

import Capture
import Glibc
import Synchronization

/// What a capture is to do: where to look, what to report, how much memory to take.
package struct CapturePlan: Sendable {
    package var places: [Place]
    package var rule: Rule
    /// Whether connection tracking can be asked about calls to services.
    package var tracksConnections: Bool
    /// The sensor's filter; nil lets everything pass.
    package var filter: Program?
    package var snaplen: Int
    package var ringByteCountMax: Int
    package var queueByteCountMax: Int

    package init(
        places: [Place], rule: Rule, tracksConnections: Bool, filter: Program?, snaplen: Int,
        ringByteCountMax: Int, queueByteCountMax: Int
    ) {
        self.places = places
        self.rule = rule
        self.tracksConnections = tracksConnections
        self.filter = filter
        self.snaplen = snaplen
        self.ringByteCountMax = ringByteCountMax
        self.queueByteCountMax = queueByteCountMax
    }

    /// Each edge's share of the ring memory. More than this helps no edge that a sensor can follow.
    var shape: Ring.Shape {
        Ring.Shape(
            byteCountMax: min(ringByteCountMax / max(1, places.count), Self.ringByteCountMaxPerEdge)
        )
    }

    static let ringByteCountMaxPerEdge = 8 << 20
}

/// A capture that is running: its rings, its filter, its counters, its queue and its thread.
///
/// The thread that owns the session gives orders; the forwarder's thread carries them out between
/// two blocks, and the session waits for that.
package final class LiveCapture: Sendable {
    package let counters = CaptureCounters()
    private let orders = Mutex<(order: Order?, answer: Answer?)>((nil, nil))
    private let ordered: Event
    private let answered: Event
    private let ended: Event
    private let reason = Mutex<String?>(nil)
    private let thread = Mutex<Thread?>(nil)
    private let logger: Logger

    private enum Order: Sendable {
        case adopt(Rule, Program?)
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

    /// Opens a ring at every place and starts to forward to the socket. Waits some 20 ms for the
    /// kernel. An edge that is gone is passed over with a line in the log; any other error, or no
    /// ring at all where there are edges, is thrown.
    package init(
        _ plan: CapturePlan, to socket: consuming Descriptor, logger: Logger
    ) throws(SystemError) {
        ordered = try Event()
        answered = try Event()
        ended = try Event()
        self.logger = logger

        let handover = Handover(socket)
        var thread: Thread? = try Thread { [self] in
            guard let socket = handover.take() else { return }
            run(plan, socket)
        }
        self.thread.withLock { $0 = thread.take() }
        guard let error = waitForAnswer(milliseconds: Self.startMillisecondsMax) else { return }
        finish()
        throw error
    }

    /// For a poll set: readable when the capture has ended by itself, as when the sensor closes the
    /// data connection.
    package var endedNumber: CInt { ended.number }

    /// Why it ended by itself.
    package var endReason: String? { reason.withLock { $0 } }

    /// Puts another rule and another filter in force, at each edge between two packets.
    package func adopt(_ rule: Rule, filter: Program?) throws(SystemError) {
        if let error = give(.adopt(rule, filter)) { throw error }
    }

    /// Brings the counters up to date with the kernel's.
    package func count() {
        _ = give(.count)
    }

    /// Stops: forwards what is in the rings and the queue for at most a second, and closes the data
    /// connection. Returns when that has happened.
    package func finish() {
        orders.withLock { $0.order = .finish }
        ordered.raise()
        join()
    }

    private func join() {
        if let thread = thread.withLock({ $0.take() }) { thread.join() }
    }

    private func give(_ order: Order) -> Answer {
        // An answer that came too late for the order before must not be taken for this one's.
        answered.lower()
        orders.withLock { $0 = (order, nil) }
        ordered.raise()
        return waitForAnswer()
    }

    private func waitForAnswer(milliseconds: CInt = answerMillisecondsMax) -> Answer {
        let ready = try? poll(
            [(answered.number, .readable), (ended.number, .readable)],
            milliseconds: milliseconds)
        guard let ready, ready[0].contains(.readable) else {
            return SystemError("wait for the capture", ETIMEDOUT)
        }
        answered.lower()
        return orders.withLock { $0.answer ?? nil }
    }
}

extension LiveCapture {
    /// The forwarder's thread, from the first ring to the last byte.
    private func run(_ plan: CapturePlan, _ socket: consuming Descriptor) {
        nameThread("podwire-forward")
        let forwarder: Forwarder
        do throws(SystemError) {
            forwarder = try start(plan, socket)
        } catch {
            answer(error)
            return
        }
        answer(nil)
        do {
            while try !obey(forwarder, hasOrder: turn(forwarder)) {}
            try forwarder.finish(milliseconds: Self.finishMillisecondsMax)
        } catch {
            reason.withLock { $0 = "\(error)" }
        }
        forwarder.settleAccounts()
        ended.raise()
    }

    private func start(
        _ plan: CapturePlan, _ socket: consuming Descriptor
    ) throws(SystemError) -> Forwarder {
        // Flows are listened for before the first packet can be there.
        let pipeline = try Pipeline(plan, counters: counters)
        if let failure = pipeline.trackingFailure {
            logger.warning(
                "connection tracking fails, calls to services are reported at backends' edges only",
                metadata: ["reason": "\(failure)"])
        }
        let opener = TapOpener(plan.places, ProgramPlan(plan), shape: plan.shape)
        let (taps, failures) = opener.open()
        for (place, error) in failures {
            guard error.code == ENODEV || error.code == ENXIO else { throw error }
            logger.warning("edge is gone", metadata: ["edge": "\(place.name)"])
        }
        return try Forwarder(
            plan, pipeline, taps: taps, socket: socket, orders: ordered.number, counters: counters)
    }

    private func turn(_ forwarder: Forwarder) throws -> Bool {
        let (hasOrder, down) = try forwarder.turn(milliseconds: -1)
        for place in down {
            logger.info("edge is down", metadata: ["edge": "\(place.name)"])
        }
        return hasOrder
    }

    /// Carries out what the session has ordered, if it has. Answers whether that was to finish.
    private func obey(_ forwarder: Forwarder, hasOrder: Bool) throws -> Bool {
        guard hasOrder else { return false }
        ordered.lower()
        switch orders.withLock({ $0.order.take() }) {
        case .finish: return true
        case .count: answer(error(of: { () throws(SystemError) in try forwarder.countKernel() }))
        case .adopt(let rule, let filter):
            answer(error(of: { () throws(SystemError) in try forwarder.adopt(rule, filter) }))
        case nil: break
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

    private func answer(_ answer: SystemError?) {
        orders.withLock { $0.answer = .some(answer) }
        answered.raise()
    }
}
