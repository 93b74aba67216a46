import Linux
import Log
import Logging
import Metrics
import PacketRing
import RPCAP
import Synchronization
import Time

/// One session's part of a capture: a queue, what sends it, and counters of its own.
///
/// It belongs to the forwarder's thread. A slow peer loses its own packets only: what finds no room in
/// its queue.
final class Outlet {
    /// What becomes of the outlet.
    enum Phase {
        /// It takes packets.
        case open
        /// Its session leaves: it takes what has been captured by then, until a time.
        case leaving(until: MonotonicTime, Departure)
        /// It takes nothing more, and sends what waits.
        case flushing(Departure)
    }

    /// How a session leaves a capture that goes on.
    struct Departure {
        /// When to give up what is not sent by then.
        let deadline: MonotonicTime
        let reply: Reply?
    }

    /// Names the outlet in commands, and for the poller.
    let key: UInt64
    let counters: CaptureCounters
    let logger: Logger
    /// What the session is told at the end.
    let ending: OutletEnding
    var form: ViewForm
    /// The place of the form among the capture's views; 0 for the one that the pipeline writes.
    var viewIndex = 0
    var sender: Sender
    var phase = Phase.open
    /// The number of the packet that was queued last, where the queue is not the pipeline's own.
    var lastNumber: UInt32 = 0
    /// How edges share the queue since it was full, if the capture has other outlets.
    private var pressure: Pressure?
    private var pressureLog = PressureLog()

    private static let keyCount = Atomic<UInt64>(Forwarder.Key.firstOutlet)

    /// Makes a key that no other outlet has.
    static func nextKey() -> UInt64 { keyCount.add(1, ordering: .relaxed).newValue }

    init(
        _ form: ViewForm, _ sender: consuming Sender, key: UInt64, _ counters: CaptureCounters,
        _ ending: OutletEnding, logger: Logger
    ) {
        (self.form, self.key, self.counters, self.ending) = (form, key, counters, ending)
        self.sender = sender
        self.logger = logger
    }

    /// Whether packets wait to be sent, and a connection is there.
    var hasUnsent: Bool { !sender.isAwaited && sender.unsentByteCount > 0 }

    /// The time until something is due, or a limit if that is shorter.
    func waitTime(_ limit: Duration, now: MonotonicTime) -> Duration {
        var time = limit
        if let due = sender.dueAt { time = min(time, due - now) }
        switch phase {
        case .open: break
        case .leaving(let until, _): time = min(time, max(until - now, Self.departureInterval))
        case .flushing(let departure): time = min(time, departure.deadline - now)
        }
        return time
    }

    /// How often an outlet whose time is over is looked at, while blocks wait to be read.
    private static let departureInterval = Duration.milliseconds(2)

    /// Brings gauges and counts up to date that nothing else changes.
    func noteProgress() {
        counters.queueBytes.set(sender.unsentByteCount)
        sender.countSent()
    }

    /// Counts what waits as abandoned, and tells the session.
    ///
    /// - Parameters:
    ///   - reason: Why the outlet has ended by itself; nil if it was told to.
    ///   - isEarly: Whether the capture goes on.
    func end(because reason: CaptureEnd?, isEarly: Bool) {
        sender.abandon(lastNumber: lastNumber)
        counters.leave(isEarly: isEarly)
        switch phase {
        case .open: break
        case .leaving(_, let departure), .flushing(let departure): departure.reply?.give(nil)
        }
        ending.set(reason)
    }
}

/// An outlet among others.
extension Outlet {
    /// Takes a copy of what has been written, if the queue has room for it, and counts it.
    ///
    /// - Parameters:
    ///   - records: The packets, whose numbers are consecutive.
    ///   - ledger: What is counted of them.
    ///   - last: The number of the last one.
    ///   - key: The edge whose block was read, which stands for all of them.
    ///   - index: The place of the outlet among the others.
    ///   - edgeCount: The number of edges that share the queue.
    func take(
        _ records: RawSpan, _ ledger: borrowing Ledger, last: UInt32, from key: UInt64,
        at index: Int, edgeCount: Int
    ) {
        let isTaken = records.byteCount == 0 || admits(records.byteCount, from: key, edgeCount)
        if isTaken, records.byteCount > 0 { copy(records, ledger.packetCount, last) }
        for entry in ledger.entries {
            let counts = isTaken ? entry.counts : entry.counts.withoutRoom
            counts.addOwn(to: entry.tally.own[index])
            counts.addOwn(to: counters)
        }
    }

    private func copy(_ records: RawSpan, _ count: Int, _ last: UInt32) {
        let count = UInt32(truncatingIfNeeded: count)
        var target = sender.queue.appended(records)
        PacketRecord.renumber(&target, by: lastNumber &- (last &- count))
        lastNumber &+= count
    }

    /// Decides whether an edge may put bytes into the queue.
    ///
    /// Since the queue was full each edge has its share of it, as in `Pressure`.
    private func admits(_ byteCount: Int, from key: UInt64, _ edgeCount: Int) -> Bool {
        if pressure == nil {
            let reserve = Pressure.reserveByteCount(
                queueByteCountMax: sender.queue.byteCountMax, blockByteCountMax: byteCount)
            // From then on the reserve is there for those who have had less.
            if sender.queue.hasRoom(for: byteCount + reserve) { return true }
            beginPressure(byteCount, edgeCount)
        }
        guard var pressure = pressure.take() else { return true }
        defer { self.pressure = pressure }
        pressure.give(leftByteCount: leftByteCount)
        let reserve = pressure.shares.credit(of: key) > 0 ? 0 : pressure.reserveByteCount
        guard sender.queue.hasRoom(for: byteCount + reserve) else { return false }
        pressure.shares.take(byteCount, from: key)
        return true
    }

    private func beginPressure(_ byteCount: Int, _ edgeCount: Int) {
        pressure = Pressure(
            queueByteCountMax: sender.queue.byteCountMax, blockByteCountMax: byteCount,
            edgeCount: edgeCount, leftByteCount: leftByteCount)
        logPressure(now: .now)
    }

    private func logPressure(now: MonotonicTime) {
        pressureLog.log("its queue", sender.queue.byteCountMax, now: now, to: logger)
    }

    /// The bytes that have left the queue since the session began.
    var leftByteCount: UInt64 {
        let queued = counters.own(.bytesQueued)
        return queued - min(UInt64(sender.queue.byteCount), queued)
    }

    /// Ends the sharing of the queue when there is room again.
    func endPressureIfPossible(now: MonotonicTime) {
        guard pressure != nil else { return }
        guard sender.queue.byteCount <= sender.queue.byteCountMax / 2 else {
            return logPressure(now: now)
        }
        pressure = nil
        pressureLog.logEnd(now: now, to: logger)
    }

    /// Whether the queue has been full lately.
    var isPressed: Bool { pressure != nil }

    /// Hands the sharing of the queue over to the forwarder, whose only outlet this is now.
    func becomeOnly() { pressure = nil }
}

/// The end of an outlet, as the session's thread learns of it.
final class OutletEnding: Sendable {
    /// Raised when the outlet has ended.
    let event: Event
    private let cause = Mutex<CaptureEnd?>(nil)

    init() throws(SystemError) { event = try Event() }

    /// Why the outlet has ended by itself; nil if it has not.
    var reason: CaptureEnd? { cause.withLock { $0 } }

    /// Records the end; only the first one counts.
    func set(_ reason: CaptureEnd?) {
        cause.withLock { $0 = $0 ?? reason }
        event.raise()
    }
}
