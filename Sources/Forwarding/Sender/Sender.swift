package import Linux
import Log
package import Logging
package import Metrics
import RPCAP
package import Time

/// The send queue of a capture, and what sends it: the forwarder's thread or, when it is busy, another.
///
/// The forwarder appends packets to `queue` and calls `send`. No function waits. The value belongs to
/// the forwarder's thread.
package struct Sender: ~Copyable {
    /// When another thread sends than the one that forwards.
    package enum Policy: Sendable {
        /// As long as one thread is too busy for both.
        case whenBusy
        case always
        case never
    }

    private enum Mode {
        /// The forwarder's thread sends.
        case inline
        case thread(SenderThread)
    }

    /// The packets that wait to be sent, each behind its header.
    package var queue: ByteQueue
    /// Whether the socket, or the thread, did not take everything at the last `send`.
    package private(set) var isBlocked = false
    /// What a thread that has ended had not sent: it goes before the queue.
    private var front: ByteQueue?
    /// Whether the queue has half its size, as a thread has left it.
    private var isHalved = false
    private var mode = Mode.inline
    private var policy: Policy
    private var connection: SharedConnection
    private var load = ThreadLoad()
    /// The CPU use of the other thread under pressure.
    private var pressedLoad = ThreadLoad()
    private let queueByteCount: Int
    private var progress: SendProgress
    private let counters: CaptureCounters
    private let logger: Logger
    private let prepareThread: @Sendable () -> Watchdog.Heartbeat

    /// The size from which a write costs the kernel no more per byte than a larger one does.
    ///
    /// What has been copied is still in the CPU's cache.
    package static let sendByteCount = 256 << 10

    /// Headroom of a queue: more than the longest datagram can leave unsent.
    private static let headroomByteCount = 128 << 10

    /// The CPU use from which one thread has no time left for a burst.
    private static let busyPercent = 80
    private static let busyInterval = Duration.milliseconds(100)

    /// The CPU use of both threads below which one is enough.
    ///
    /// With few packets two threads cost half as much again for each.
    private static let sparePercent = 40
    private static let spareInterval = Duration.seconds(10)

    /// The CPU use of the other thread below which it is the socket that is slow.
    private static let waitingPercent = 50
    private static let waitingInterval = Duration.seconds(1)

    /// Creates a sender that sends on the forwarder's thread.
    ///
    /// - Parameters:
    ///   - connection: Where the bytes go.
    ///   - queueByteCount: The most bytes that wait.
    ///   - policy: When another thread sends.
    ///   - counters: Counts datagrams, and what was not sent.
    ///   - logger: Gets what a person should know.
    ///   - prepareThread: Called on a thread that begins to send; names it, places it and has it
    ///     watched.
    /// - Throws: If there is no memory for the queue.
    package init(
        _ connection: consuming sending DataConnection, queueByteCount: Int, _ policy: Policy,
        _ counters: CaptureCounters, logger: Logger,
        prepareThread: @escaping @Sendable () -> Watchdog.Heartbeat
    ) throws(SystemError) {
        let queue = try ByteQueue(byteCountMax: queueByteCount)
        self.queue = queue
        self.policy = policy
        self.connection = SharedConnection(connection)
        self.queueByteCount = queueByteCount
        progress = SendProgress(queueByteCountMax: queueByteCount)
        self.counters = counters
        self.logger = logger
        self.prepareThread = prepareThread
    }
}

extension Sender {
    /// Whether there is no connection yet.
    package var isAwaited: Bool { connection.fileDescriptor == nil }

    /// The descriptor to wait for, in a poll set; nil while there is no connection.
    package var fileDescriptor: CInt? {
        switch mode {
        case .inline: connection.fileDescriptor
        case .thread(let thread): thread.fileDescriptor
        }
    }

    /// What the descriptor is ready for when more can be sent.
    package var interest: Readiness {
        switch mode {
        case .inline: connection.roomInterest
        case .thread: .readable
        }
    }

    /// The number of bytes that are not sent yet, in the queue or behind it.
    package var unsentByteCount: Int { queue.byteCount + waitingByteCount }

    /// The number of bytes that have left the queue and are not sent yet.
    package var waitingByteCount: Int {
        switch mode {
        case .inline: connection.waitingByteCount + frontByteCount
        case .thread(let thread): thread.waitingByteCount
        }
    }

    /// When this thread must send even if no packet comes; nil for never.
    package var dueAt: MonotonicTime? {
        switch mode {
        case .inline: connection.dueAt
        case .thread: nil
        }
    }

    /// Uses a connection from now on; what has waited for it is sent first.
    mutating func attach(_ connection: consuming sending DataConnection) {
        self.connection = SharedConnection(connection)
    }

    /// Sends what can be sent, if anything waits.
    ///
    /// - Parameters:
    ///   - isLast: Whether no more packets follow.
    ///   - now: The time.
    /// - Returns: The readiness of the descriptor to wait for from now on, if that has changed.
    /// - Throws: If the connection has failed.
    @discardableResult
    package mutating func send(
        isLast: Bool, now: MonotonicTime
    ) throws(SendFailure) -> Readiness? {
        guard queue.byteCount > 0 || isBlocked || isLast else { return nil }
        let wasBlocked = isBlocked
        switch mode {
        case .inline:
            isBlocked = try !sendInline(isLast: isLast, now: now)
            return isBlocked == wasBlocked ? nil : connection.interest(isBlocked: isBlocked)
        case .thread(let thread):
            isBlocked = try !thread.send(from: &queue, isLast: isLast)
            return nil
        }
    }

    private mutating func sendInline(isLast: Bool, now: MonotonicTime) throws(SendFailure) -> Bool {
        if frontByteCount > 0, try !sendFront(now) { return false }
        return try connection.send(from: &queue, isLast: isLast, now: now, counters)
    }

    /// - Returns: Whether the queue is next.
    private mutating func sendFront(_ now: MonotonicTime) throws(SendFailure) -> Bool {
        guard var front = front.take() else { return true }
        let takesMore: Bool
        do throws(SendFailure) {
            takesMore = try connection.send(from: &front, isLast: false, now: now, counters)
        } catch {
            self.front = .some(front)
            throw error
        }
        guard front.byteCount <= Self.headroomByteCount else {
            self.front = .some(front)
            return false
        }
        queue.prepend(&front)
        return takesMore
    }

    private var frontByteCount: Int {
        switch front {
        case .some(let front): front.byteCount
        case .none: 0
        }
    }

    /// Counts the packets that the socket has taken by now, as far as that is known.
    mutating func countSent() {
        progress.record(
            SendProgress.Count(
                byteCount: counters[.bytesQueued], packetCount: counters[.packetsQueued]),
            unsentByteCount: unsentByteCount)
        let lost = counters.lost
        countSent(.packetsSent, progress.sent.packetCount, allBut: lost.packetCount)
        countSent(.bytesSent, progress.sent.byteCount, allBut: lost.byteCount)
    }

    /// Counts what has left the queue as sent, but for what is known to be lost.
    private func countSent(_ metric: CaptureMetric, _ count: UInt64, allBut lost: UInt64) {
        // What is lost may be known before what was sent with it.
        counters.set(metric, to: max(counters[metric], count - min(lost, count)))
    }

    /// Handles what the descriptor is ready for beside more packets.
    ///
    /// - Returns: The readiness of the descriptor to wait for from now on, if that has changed.
    /// - Throws: The reason why nothing can be sent any more.
    @discardableResult
    package func attend(hasFailed: Bool) throws(SendFailure) -> Readiness? {
        switch mode {
        case .inline:
            let isOther = try connection.attend(hasFailed: hasFailed, counters)
            return isOther ? connection.interest(isBlocked: isBlocked) : nil
        case .thread(let thread):
            try thread.attend()
            return nil
        }
    }

    /// Ends sending, and counts what has not been sent as abandoned.
    ///
    /// - Parameter lastNumber: The number of the packet that was queued last.
    mutating func abandon(lastNumber: UInt32) {
        let leftover = hasThread ? stopThread() : front.take()
        let queuedCount = PacketRecord.count(in: queue.bytes, endingWith: lastNumber)
        var packetCount = queuedCount
        var byteCount = queue.byteCount + connection.waitingByteCount
        switch leftover {
        case .none: break
        case .some(let leftover):
            // A packet that was partly sent counts.
            packetCount += PacketRecord.count(
                in: leftover.bytes,
                endingWith: lastNumber &- UInt32(truncatingIfNeeded: queuedCount))
            byteCount += leftover.byteCount
        }
        packetCount += connection.waitingPacketCount
        counters.add(packetCount, to: .packetsAbandoned)
        counters.add(byteCount, to: .bytesAbandoned)
        let lost = counters.lost
        countSent(
            .packetsSent, counters[.packetsQueued], allBut: UInt64(packetCount) + lost.packetCount)
        // Datagrams have bytes that were never in the queue.
        countSent(.bytesSent, counters[.bytesQueued], allBut: UInt64(byteCount) + lost.byteCount)
    }
}

/// The change between one thread and two.
extension Sender {
    /// Whether another thread sends.
    package var hasThread: Bool {
        switch mode {
        case .inline: false
        case .thread: true
        }
    }

    /// Whether the other thread has nothing to send, or only what fills no datagram.
    package var isThreadIdle: Bool {
        switch mode {
        case .inline: true
        case .thread(let thread): thread.isIdle
        }
    }

    /// Has another thread send when this one is too busy, and ends it when one is enough.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - isPressed: Whether more comes than is sent.
    ///   - runTime: The CPU time that the calling thread has used; asked for rarely.
    /// - Returns: The descriptors to wait for before and after, if there was a change.
    @discardableResult
    package mutating func balance(
        now: MonotonicTime, isPressed: Bool = false, runTime: () -> Duration
    ) -> (before: CInt, after: CInt)? {
        let before = fileDescriptor
        if !isPressed { pressedLoad = ThreadLoad() }
        switch (policy, mode) {
        case (.never, _), (.always, .thread): break
        case (.always, .inline): startThreadIfPossible()
        case (.whenBusy, .thread(let thread)):
            let percent = load.percent(
                over: Self.spareInterval, now: now, busy: runTime() + thread.runTime)
            if let percent, percent < Self.sparePercent, thread.isIdle {
                endThread()
            } else if isPressed, measureWaiting(of: thread, now) {
                continueInline()
                logger.debug("the forwarding thread sends packets, as the sensor is slow")
            }
        case (.whenBusy, .inline):
            if isHalved { restoreQueueIfPossible() }
            let percent = load.percent(over: Self.busyInterval, now: now, busy: runTime())
            if let percent, percent >= Self.busyPercent, Self.hasProcessors {
                startThreadIfPossible()
            }
        }
        guard let before, let after = fileDescriptor, after != before else { return nil }
        return (before, after)
    }

    /// Whether there is more than one processor: on one, two threads would only take turns.
    private static var hasProcessors: Bool { ((try? affinity())?.numbers.count ?? 1) > 1 }

    /// Starts a thread, unless much waits: then the socket is full and not the thread.
    private mutating func startThreadIfPossible() {
        guard !isAwaited, frontByteCount == 0, queue.byteCount <= Self.sendByteCount else { return }
        do throws(SystemError) {
            try startThread()
        } catch {
            policy = .never
            return logger.warning(
                "the forwarding thread is full, and no other can be started",
                metadata: ["reason": "\(error)"])
        }
        logger.debug("a second thread sends packets")
    }

    /// Measures whether a thread does little, so that it waits for the socket.
    private mutating func measureWaiting(of thread: SenderThread, _ now: MonotonicTime) -> Bool {
        let percent = pressedLoad.percent(
            over: Self.waitingInterval, now: now, busy: thread.runTime)
        return percent.map { $0 < Self.waitingPercent } ?? false
    }

    /// Ends the other thread while much waits, since one thread is enough for a slow socket.
    ///
    /// Two halves would make room only when one of them has been sent. The memory stays the same:
    /// what the thread has not sent goes first, and the queue keeps half its size meanwhile.
    package mutating func continueInline() {
        front = stopThread()
        isHalved = true
    }

    /// Gives the queue its whole size again when little waits.
    private mutating func restoreQueueIfPossible() {
        guard frontByteCount == 0, queue.byteCount <= Self.sendByteCount,
            let queue = try? ByteQueue(byteCountMax: queueByteCount)
        else { return }
        move(to: queue)
        isHalved = false
    }

    private mutating func endThread() {
        // Without memory for a whole queue the two halves stay in use.
        guard var queue = try? ByteQueue(byteCountMax: queueByteCount) else { return }
        switch stopThread() {
        case .some(let leftover): queue.append(leftover.bytes)
        case .none: break
        }
        move(to: queue)
        logger.debug("the forwarding thread sends packets")
    }

    /// Has another thread send, with two queues of half the size.
    ///
    /// If it throws, nothing has changed.
    package mutating func startThread() throws(SystemError) {
        guard let socket = connection.fileDescriptor else { return }
        let queue = try halfQueue()
        let thread = try SenderThread(
            connection, socket, exchanging: try halfQueue(), counters)
        try thread.start(prepare: prepareThread)
        move(to: queue)
        isHalved = false
        mode = .thread(thread)
        noteChange()
    }

    /// Ends the other thread, and waits for the system call that it is in.
    ///
    /// - Returns: What the thread has not sent, which goes first; nil if there was no thread.
    package mutating func stopThread() -> ByteQueue? {
        guard case .thread(let thread) = mode else { return nil }
        mode = .inline
        noteChange()
        return thread.stop()
    }

    private mutating func noteChange() {
        isBlocked = false
        load = ThreadLoad()
    }

    private func halfQueue() throws(SystemError) -> ByteQueue {
        try ByteQueue(
            byteCountMax: queueByteCount / 2, headroomByteCount: Self.headroomByteCount)
    }

    /// Goes on with another queue, to which the bytes in this one are copied.
    private mutating func move(to queue: consuming ByteQueue) {
        queue.append(self.queue.bytes)
        self.queue = queue
    }
}
