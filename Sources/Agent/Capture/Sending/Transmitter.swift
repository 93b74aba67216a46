package import Linux

import Synchronization

/// Gets a forwarder's queue to its outlet: on the forwarder's thread, and once that is full on another.
///
/// It has the functions of an outlet, and like those they never wait. It belongs to the forwarder's
/// thread.
package struct Transmitter: ~Copyable {
    private let relay: Relay
    private let socket: CInt?
    private var thread: Thread?
    /// Whether another thread sends.
    package var hasThread: Bool {
        switch thread {
        case .some: true
        case .none: false
        }
    }

    /// More than does not fill the longest datagram: queues have so much room in front.
    package static let restByteCountMax = 128 << 10

    package init(_ outlet: consuming sending Outlet) throws(SystemError) {
        socket = outlet.number
        relay = try Relay(outlet)
    }

    /// Whether the client is still to connect.
    package var isAwaited: Bool { socket == nil }

    /// For a poll set; nil while there is nothing to wait for.
    package var number: CInt? { hasThread ? relay.number : socket }

    /// What that is ready for when more can be sent.
    package var interest: Readiness { hasThread ? .readable : .writable }

    /// What has left the queue and is not sent yet.
    package var waitingByteCount: Int {
        hasThread ? relay.waitingByteCount : relay.outlet.withLock { $0.waitingByteCount }
    }

    /// After how long this thread has something to send although nothing new comes; nil if it has
    /// not.
    package var dueMilliseconds: CInt? {
        hasThread ? nil : relay.outlet.withLock { $0.dueMilliseconds }
    }

    /// Sends what can be sent. Answers false if it is to be waited for until that is more.
    package func send(
        from queue: inout ByteQueue, isLast: Bool, _ counters: CaptureCounters
    ) throws -> Bool {
        if hasThread { return try relay.send(from: &queue, isLast: isLast) }
        return try relay.outlet.withLock { outlet throws in
            try outlet.send(from: &queue, isLast: isLast, counters)
        }
    }

    /// Deals with what its number is ready for beside that. Answers false if nothing can be sent any
    /// more.
    package func attend(hasFailed: Bool, _ counters: CaptureCounters) throws -> Bool {
        if hasThread {
            try relay.attend()
            return true
        }
        return try relay.outlet.withLock { outlet throws in
            try outlet.attend(hasFailed: hasFailed, counters)
        }
    }

    /// Has another thread send what comes from now on. It is prepared before it sends anything, and
    /// swaps the queue that it is given for those that are to be sent. Where it fails nothing has
    /// changed.
    package mutating func start(
        _ queue: consuming ByteQueue, _ counters: CaptureCounters,
        prepare: @escaping @Sendable () -> Pulses.Pulse
    ) throws(SystemError) {
        guard let socket else { return }
        relay.take(queue)
        let poller = TransferBox(try Poller<Relay.Key>())
        thread = .some(
            try Thread { [relay] in
                let pulse = prepare()
                if let poller = poller.take() { relay.run(poller, socket, counters, pulse) }
            })
    }

    /// Whether the other thread has nothing to send but what does not fill a datagram.
    package var isIdle: Bool { relay.isFree }

    /// For how long the other thread has run.
    package var threadNanoseconds: UInt64 {
        switch thread {
        case .some(let thread): thread.nanoseconds
        case .none: 0
        }
    }

    /// Ends the other thread, where there is one: what comes is sent by this one again. Answers what it
    /// has not sent, which goes first.
    package mutating func stop() -> ByteQueue? {
        guard let thread = thread.take() else { return nil }
        relay.stop()
        thread.join()
        return relay.takeQueue()
    }
}
