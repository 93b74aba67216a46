package import Linux
import Security
import Synchronization
import Time

/// The connection that the packets of a capture are sent over.
///
/// It takes bytes out of the send queue, and never waits: it returns whether its socket takes more,
/// and the sending thread waits for the socket. Its functions do not change the value, since what
/// changes is in the objects that the cases own.
package enum DataConnection: ~Copyable {
    /// No connection yet: the client has not connected.
    ///
    /// Packets wait in the queue, and when it is full in the rings.
    case awaited
    /// A TCP connection.
    case stream(Descriptor)
    /// A TLS connection.
    case secure(SecureStream)
    /// A UDP socket.
    case datagrams(DatagramStream)
    /// The sockets of a tunnel.
    case tunnel(TunnelStream)
}

extension DataConnection {
    /// The socket, for a poll set; nil while there is none.
    var fileDescriptor: CInt? {
        switch self {
        case .awaited: nil
        case .stream(let descriptor): descriptor.fileDescriptor
        case .secure(let stream): stream.fileDescriptor
        case .datagrams(let datagrams): datagrams.fileDescriptor
        case .tunnel(let tunnel): tunnel.fileDescriptor
        }
    }

    /// What the socket is ready for when it takes more.
    var roomInterest: Readiness {
        // The descriptor stands for several sockets.
        switch self {
        case .tunnel: .readable
        default: .writable
        }
    }

    /// The number of packets that have left the queue as a whole and are not sent yet.
    ///
    /// Packets in parts are counted by what is left in the queue.
    var waitingPacketCount: Int {
        switch self {
        case .tunnel(let tunnel): tunnel.waitingCount
        default: 0
        }
    }

    /// The number of bytes that have left the queue and are not sent yet.
    var waitingByteCount: Int {
        switch self {
        case .datagrams(let datagrams): datagrams.waitingByteCount
        case .tunnel(let tunnel): tunnel.waitingByteCount
        default: 0
        }
    }

    /// When something must be sent even if no packet comes; nil for never.
    var dueAt: MonotonicTime? {
        switch self {
        case .datagrams(let datagrams): datagrams.dueAt
        default: nil
        }
    }

    /// Sends what the socket takes.
    ///
    /// - Parameters:
    ///   - queue: The bytes to send; what was sent is removed.
    ///   - isLast: Whether no more bytes follow, so that a datagram need not be full.
    ///   - now: The time.
    ///   - counters: Counts datagrams.
    /// - Returns: False if the caller must wait for the socket to take more.
    /// - Throws: If the connection has failed.
    func send(
        from queue: inout ByteQueue, isLast: Bool, now: MonotonicTime, _ counters: CaptureCounters
    ) throws(SendFailure) -> Bool {
        switch self {
        case .awaited: return true
        case .stream(let descriptor):
            do throws(SystemError) {
                return try queue.send { bytes throws(SystemError) in try descriptor.send(bytes) }
            } catch {
                throw SendFailure(ofConnection: error)
            }
        case .secure(let stream):
            do throws(TLSFailure) { return try stream.send(from: &queue) } catch {
                throw SendFailure(ofConnection: error)
            }
        case .datagrams(let datagrams):
            return datagrams.send(from: &queue, isLast: isLast, now: now, counters)
        case .tunnel(let tunnel):
            return tunnel.send(from: &queue, counters)
        }
    }

    /// Handles what the socket reports beside room: it is readable, or has failed.
    ///
    /// A peer that has ended its own stream still reads. Only a failure tells that it does not.
    ///
    /// - Returns: Whether the peer has ended its stream, so that nothing more can be read.
    /// - Throws: The reason why nothing can be sent any more.
    func attend(hasFailed: Bool, _ counters: CaptureCounters) throws(SendFailure) -> Bool {
        switch self {
        case .awaited: return false
        case .stream(let descriptor):
            if hasFailed { throw Self.failure(of: descriptor) }
            do throws(SystemError) {
                return try !discardReceived(from: descriptor.fileDescriptor)
            } catch {
                throw SendFailure(ofConnection: error)
            }
        case .secure(let stream):
            if hasFailed { throw stream.failure }
            return try !stream.discardReceived()
        case .datagrams(let datagrams):
            datagrams.takeReceived(counters)
            return false
        case .tunnel(let tunnel):
            tunnel.takeReceived(counters)
            return false
        }
    }

    private static func failure(of descriptor: borrowing Descriptor) -> SendFailure {
        guard let errno = try? descriptor.takePendingError() else { return .closed }
        return SendFailure(ofConnection: SystemError("send", errno))
    }
}

/// A data connection that one thread hands to another.
///
/// One thread at a time uses it, so nobody ever waits for the lock.
final class SharedConnection: Sendable {
    private let connection: Mutex<DataConnection>
    private let hasPeerEnded = Atomic(false)

    /// The socket, which stays the same; nil while there is none.
    let fileDescriptor: CInt?

    /// What the socket is ready for when it takes more.
    let roomInterest: Readiness

    init(_ connection: consuming sending DataConnection) {
        fileDescriptor = connection.fileDescriptor
        roomInterest = connection.roomInterest
        self.connection = Mutex(connection)
    }

    /// See `DataConnection.waitingByteCount`.
    var waitingByteCount: Int { connection.withLock { $0.waitingByteCount } }

    /// See `DataConnection.waitingPacketCount`.
    var waitingPacketCount: Int { connection.withLock { $0.waitingPacketCount } }

    /// See `DataConnection.dueAt`.
    var dueAt: MonotonicTime? { connection.withLock { $0.dueAt } }

    /// See `DataConnection.send`.
    func send(
        from queue: inout ByteQueue, isLast: Bool, now: MonotonicTime, _ counters: CaptureCounters
    ) throws(SendFailure) -> Bool {
        try connection.withLock { connection throws(SendFailure) in
            try connection.send(from: &queue, isLast: isLast, now: now, counters)
        }
    }

    /// See `DataConnection.attend`.
    ///
    /// - Returns: Whether the descriptor has to be waited for with another `interest` from now on.
    func attend(hasFailed: Bool, _ counters: CaptureCounters) throws(SendFailure) -> Bool {
        let hasEnded = try connection.withLock { connection throws(SendFailure) in
            try connection.attend(hasFailed: hasFailed, counters)
        }
        if hasEnded { hasPeerEnded.store(true, ordering: .relaxed) }
        return hasEnded
    }

    /// What to wait for at the descriptor.
    ///
    /// A stream that the peer has ended would be readable for ever. A failure is reported all the
    /// same.
    func interest(isBlocked: Bool) -> Readiness {
        let base: Readiness = hasPeerEnded.load(ordering: .relaxed) ? [] : .readable
        return isBlocked ? base.union(.writable) : base
    }
}
