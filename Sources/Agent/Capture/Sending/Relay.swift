import Linux
import Synchronization

/// What the thread that forwards and the one that sends have in common.
///
/// There are two queues: while one thread sends the one, the other thread fills the other. They change
/// hands as a whole, so bytes keep their order, and none is copied but the few that do not fill a
/// datagram.
final class Relay: Sendable {
    /// One thread at a time uses it, so nobody ever waits for the lock.
    let outlet: Mutex<Outlet>
    private let exchange = Mutex(Exchange())
    /// Tells the thread that sends that there is something to do.
    private let filled: Event
    /// Tells the one that forwards that it can have the queue, or that sending has failed.
    private let emptied: Event

    private struct Exchange: ~Copyable, Sendable {
        /// Nil while it is being sent.
        var queue: ByteQueue?
        /// Nothing is in the queue but what does not fill a datagram: it can be had to be filled.
        var isFree = true
        /// Somebody waits for that.
        var isAwaited = false
        /// How many bytes the thread that sends has, in the queue or in datagrams.
        var heldByteCount = 0
        /// Nothing more is to come.
        var isLast = false
        var isStopping = false
        var failure: (any Error)?
    }

    init(_ outlet: consuming sending Outlet) throws(SystemError) {
        let filled = try Event()
        let emptied = try Event()
        self.outlet = Mutex(outlet)
        self.filled = filled
        self.emptied = emptied
    }
}

/// The forwarder's side.
extension Relay {
    /// Of the event that tells it.
    var number: CInt { emptied.fileDescriptor }

    /// What has been handed over and is not sent yet.
    var waitingByteCount: Int {
        exchange.withLock { $0.queue.byteCount + $0.heldByteCount }
    }

    /// Gives it the queue that is swapped for others.
    func take(_ queue: consuming ByteQueue) {
        let handover = TransferBox(Exchange(queue: queue))
        exchange.withLock { exchange in
            if let begin = handover.take() { exchange = begin }
        }
    }

    /// Whether the other queue can be had.
    var isFree: Bool { exchange.withLock { $0.isFree } }

    /// Takes a queue to be sent, and gives an empty one for it, with room in front of it for the rest of
    /// another. Answers false if there is none yet: the event tells when there is.
    func send(from queue: inout ByteQueue, isLast: Bool) throws -> Bool {
        let hasNews = try exchange.withLock { exchange throws in
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

    /// Throws what has ended the sending, if anything has.
    func attend() throws {
        emptied.lower()
        if let failure = exchange.withLock({ $0.failure }) { throw failure }
    }

    /// Has the other thread end after the system call that it is in.
    func stop() {
        exchange.withLock { $0.isStopping = true }
        filled.raise()
    }

    /// What that has left.
    func takeQueue() -> ByteQueue? { exchange.withLock { $0.queue.take() } }
}

/// The side of the thread that sends.
extension Relay {
    func run(
        _ poller: consuming Poller<Key>, _ socket: CInt, _ counters: CaptureCounters,
        _ pulse: borrowing Pulses.Pulse
    ) {
        do {
            try poller.add(filled.fileDescriptor, as: .filled)
            try poller.add(socket, as: .socket)
            var waitsForSocket = false
            while let takesMore = try sendQueue(counters) {
                if takesMore == waitsForSocket {
                    waitsForSocket = !takesMore
                    try poller.setInterest(
                        of: socket, as: .socket,
                        to: waitsForSocket ? [.readable, .writable] : .readable)
                }
                try wait(&poller, counters)
                pulse.beat()
            }
        } catch {
            exchange.withLock { $0.failure = error }
            emptied.raise()
        }
    }

    enum Key: UInt64, PollerKey { case filled, socket }

    /// Sends what the socket takes. Answers whether it takes more, or nil at the end.
    private func sendQueue(_ counters: CaptureCounters) throws -> Bool? {
        var isLast = false
        let taken = exchange.withLock { exchange -> ByteQueue? in
            guard !exchange.isStopping else { return nil }
            isLast = exchange.isLast
            exchange.isFree = false
            exchange.heldByteCount += exchange.queue.byteCount
            return exchange.queue.take()
        }
        guard var queue = taken else { return nil }
        let result = outlet.withLock { outlet in
            Result { try outlet.send(from: &queue, isLast: isLast, counters) }
        }
        giveBack(queue, isFree: (try? result.get()) ?? false)
        return try result.get()
    }

    private func giveBack(_ queue: consuming ByteQueue, isFree: Bool) {
        let heldByteCount = outlet.withLock { $0.waitingByteCount }
        var queue = Optional.some(queue)
        let isAwaited = exchange.withLock { exchange in
            swap(&exchange.queue, &queue)
            exchange.heldByteCount = heldByteCount
            exchange.isFree = isFree
            return isFree && exchange.isAwaited
        }
        if isAwaited { emptied.raise() }
    }

    private func wait(_ poller: inout Poller<Key>, _ counters: CaptureCounters) throws {
        let milliseconds = outlet.withLock { $0.dueMilliseconds } ?? Pulses.waitMilliseconds
        let readyCount = try poller.wait(milliseconds: milliseconds)
        for index in 0..<readyCount {
            guard poller.key(at: index) == .socket else {
                filled.lower()
                continue
            }
            let hasFailed = poller.hasFailed(at: index)
            let goesOn = try outlet.withLock { outlet throws in
                try outlet.attend(hasFailed: hasFailed, counters)
            }
            guard goesOn else { throw Forwarder.Failure.closed }
        }
    }
}
