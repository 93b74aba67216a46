import Linux
import Metrics
import Synchronization
import Time

/// A thread that sends, and the queue that it exchanges with the forwarder.
///
/// There are two queues: while the thread sends one, the forwarder fills the other. They change
/// hands as a whole, so bytes keep their order, and only a rest that fills no datagram is copied.
final class SenderThread: Sendable {
    private let connection: SharedConnection
    private let socket: CInt
    private let counters: CaptureCounters
    private let exchange: Mutex<Exchange>
    private let thread = Mutex<Thread?>(nil)
    /// Raised for the thread: there is something to do.
    private let filled: Event
    /// Raised for the forwarder: it can have the other queue, or sending has failed.
    private let emptied: Event

    private struct Exchange: ~Copyable, Sendable {
        /// Nil while it is being sent.
        var queue: ByteQueue?
        /// Whether the queue holds at most a rest that fills no datagram, so it can be exchanged.
        var isFree = true
        /// Whether the forwarder waits for `isFree`.
        var isAwaited = false
        /// The number of bytes that the thread is sending, from the queue or in datagrams.
        var heldByteCount = 0
        /// Whether nothing more follows.
        var isLast = false
        var isStopping = false
        var failure: SendFailure?

        init(_ queue: consuming ByteQueue) { self.queue = .some(queue) }

        /// The number of bytes in the queue, if it is here.
        var queuedByteCount: Int {
            switch queue {
            case .some(let queue): queue.byteCount
            case .none: 0
            }
        }
    }

    /// Prepares a thread, which begins with `start`.
    ///
    /// - Parameters:
    ///   - connection: Where the thread sends to.
    ///   - socket: The connection's socket.
    ///   - queue: The queue that is exchanged for the forwarder's; it is empty, and has headroom for
    ///     the rest of the other one.
    ///   - counters: Counts datagrams.
    /// - Throws: If the process has no descriptor left.
    init(
        _ connection: SharedConnection, _ socket: CInt, exchanging queue: consuming ByteQueue,
        _ counters: CaptureCounters
    ) throws(SystemError) {
        let filled = try Event()
        let emptied = try Event()
        self.connection = connection
        self.socket = socket
        self.counters = counters
        self.filled = filled
        self.emptied = emptied
        exchange = Mutex(Exchange(queue))
    }

    /// Starts the thread.
    ///
    /// - Parameter prepare: Called on the thread first; names it, places it and has it watched.
    /// - Throws: If the process can have no further thread or descriptor.
    func start(
        prepare: @escaping @Sendable () -> Watchdog.Heartbeat
    ) throws(SystemError) {
        let poller = TransferBox(try Poller<Key>())
        let thread = TransferBox(
            try Thread { [self] in
                let heartbeat = prepare()
                if let poller = poller.take() { run(poller, heartbeat) }
            })
        self.thread.withLock { $0 = thread.take() }
    }
}

/// The forwarder's side.
extension SenderThread {
    /// An event for a poll set: readable when the forwarder can have the other queue.
    var fileDescriptor: CInt { emptied.fileDescriptor }

    /// The number of bytes that were handed over and are not sent yet.
    var waitingByteCount: Int {
        exchange.withLock { $0.queuedByteCount + $0.heldByteCount }
    }

    /// The CPU time that the thread has used.
    var runTime: Duration {
        thread.withLock { thread in
            switch thread {
            case .some(let thread): .nanoseconds(clamping: thread.nanoseconds)
            case .none: .zero
            }
        }
    }

    /// Whether the thread has nothing to send, or only what fills no datagram.
    var isIdle: Bool { exchange.withLock { $0.isFree } }

    /// Exchanges a queue for an empty one, and has it sent.
    ///
    /// - Returns: False if the other queue is not free yet; then the event tells when it is.
    func send(from queue: inout ByteQueue, isLast: Bool) throws(SendFailure) -> Bool {
        let hasNews = try exchange.withLock { exchange throws(SendFailure) in
            if let failure = exchange.failure { throw failure }
            let isEnd = isLast && !exchange.isLast
            exchange.isLast = isLast
            guard queue.byteCount > 0 else { return isEnd }
            exchange.isAwaited = !exchange.isFree
            guard exchange.isFree, var other = exchange.queue.take() else { return isEnd }
            queue.prepend(&other)
            swap(&queue, &other)
            exchange.queue = .some(other)
            exchange.isFree = false
            return true
        }
        if hasNews { filled.raise() }
        return queue.byteCount == 0
    }

    /// Lowers the event, and throws what has ended the thread, if anything has.
    func attend() throws(SendFailure) {
        emptied.lower()
        if let failure = exchange.withLock({ $0.failure }) { throw failure }
    }

    /// Ends the thread after the system call that it is in, and waits for that.
    ///
    /// - Returns: What the thread has not sent; it goes before all that follows.
    func stop() -> ByteQueue? {
        exchange.withLock { $0.isStopping = true }
        filled.raise()
        thread.withLock { $0.take() }?.join()
        return exchange.withLock { $0.queue.take() }
    }
}

/// The thread's side.
extension SenderThread {
    private enum Key: UInt64, PollerKey { case filled, socket }

    private func run(
        _ poller: consuming Poller<Key>, _ heartbeat: borrowing Watchdog.Heartbeat
    ) {
        do throws(SendFailure) {
            try Self.add(filled.fileDescriptor, as: .filled, to: poller)
            try Self.add(socket, as: .socket, to: poller)
            var waitsForSocket = false
            while let takesMore = try sendQueue() {
                if takesMore == waitsForSocket {
                    waitsForSocket = !takesMore
                    try setInterest(connection.interest(isBlocked: waitsForSocket), in: poller)
                }
                try wait(&poller, isBlocked: waitsForSocket)
                heartbeat.beat()
            }
        } catch {
            exchange.withLock { $0.failure = error }
            emptied.raise()
        }
    }

    private static func add(
        _ fileDescriptor: CInt, as key: Key, to poller: borrowing Poller<Key>
    ) throws(SendFailure) {
        do throws(SystemError) {
            try poller.add(fileDescriptor, as: key)
        } catch {
            throw .system(error)
        }
    }

    private func setInterest(
        _ interest: Readiness, in poller: borrowing Poller<Key>
    ) throws(SendFailure) {
        do throws(SystemError) {
            try poller.setInterest(of: socket, as: .socket, to: interest)
        } catch {
            throw .system(error)
        }
    }

    /// Sends what the socket takes.
    ///
    /// - Returns: Whether the socket takes more, or nil at the end.
    private func sendQueue() throws(SendFailure) -> Bool? {
        var isLast = false
        let taken = exchange.withLock { exchange -> ByteQueue? in
            guard !exchange.isStopping else { return nil }
            isLast = exchange.isLast
            exchange.isFree = false
            exchange.heldByteCount += exchange.queuedByteCount
            return exchange.queue.take()
        }
        guard var queue = taken else { return nil }
        let takesMore: Bool
        do throws(SendFailure) {
            takesMore = try connection.send(from: &queue, isLast: isLast, now: .now, counters)
        } catch {
            giveBack(queue, isFree: false)
            throw error
        }
        giveBack(queue, isFree: takesMore)
        return takesMore
    }

    private func giveBack(_ queue: consuming ByteQueue, isFree: Bool) {
        let heldByteCount = connection.waitingByteCount
        var queue = Optional.some(queue)
        let isAwaited = exchange.withLock { exchange in
            swap(&exchange.queue, &queue)
            exchange.heldByteCount = heldByteCount
            exchange.isFree = isFree
            return isFree && exchange.isAwaited
        }
        if isAwaited { emptied.raise() }
    }

    private func wait(_ poller: inout Poller<Key>, isBlocked: Bool) throws(SendFailure) {
        let readyCount: Int
        do throws(SystemError) {
            readyCount = try poller.wait(
                until: connection.dueAt
                    ?? .now + Watchdog.waitMax)
        } catch {
            throw .system(error)
        }
        for index in 0..<readyCount {
            switch poller.key(at: index) {
            case .filled: filled.lower()
            case .socket:
                let hasFailed = poller.hasFailed(at: index)
                guard try connection.attend(hasFailed: hasFailed, counters) else { continue }
                try setInterest(connection.interest(isBlocked: isBlocked), in: poller)
            }
        }
    }
}
