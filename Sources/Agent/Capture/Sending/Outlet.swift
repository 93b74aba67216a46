package import Linux

/// Where the packets of a capture go.
///
/// What it sends it takes out of the forwarder's queue, and it never waits: it says whether its
/// socket takes more, and the forwarder waits for that beside the rings. All of its functions leave
/// the value as it is: what changes is in the objects that cases own.
package enum Outlet: ~Copyable {
    /// Nowhere yet: the client is still to connect. Packets wait in the queue, and when that is full
    /// in the rings.
    case awaited
    /// A TCP connection, which takes the queue as it is.
    case stream(Descriptor)
    case secure(SecureStream)
    case datagrams(DatagramStream)
}

extension Outlet {
    var isAwaited: Bool {
        switch self {
        case .awaited: true
        default: false
        }
    }

    /// For a poll set; nil while there is no socket.
    var number: CInt? {
        switch self {
        case .awaited: nil
        case .stream(let descriptor): descriptor.fileDescriptor
        case .secure(let stream): stream.number
        case .datagrams(let datagrams): datagrams.number
        }
    }

    /// What has left the queue and is not sent yet.
    var waitingByteCount: Int {
        switch self {
        case .datagrams(let datagrams): datagrams.waitingByteCount
        default: 0
        }
    }

    /// After how long there is something to send although nothing new comes; nil if there is not.
    var dueMilliseconds: CInt? {
        switch self {
        case .datagrams(let datagrams): datagrams.dueMilliseconds
        default: nil
        }
    }

    /// Sends what the socket takes. Answers false if it is to be waited for until it takes more.
    func send(
        from queue: inout ByteQueue, isLast: Bool, _ counters: CaptureCounters
    ) throws -> Bool {
        switch self {
        case .awaited: true
        case .stream(let descriptor): try queue.send(to: descriptor.fileDescriptor)
        case .secure(let stream): try stream.send(from: &queue)
        case .datagrams(let datagrams):
            datagrams.send(from: &queue, isLast: isLast, counters)
        }
    }

    /// Deals with what the socket reports beside room: it is readable, or has failed. Answers false
    /// if nothing can be sent any more.
    func attend(hasFailed: Bool, _ counters: CaptureCounters) throws(SystemError) -> Bool {
        switch self {
        case .awaited: return true
        case .stream(let descriptor):
            return hasFailed ? false : try discardReceived(from: descriptor.fileDescriptor)
        case .secure(let stream): return hasFailed ? false : stream.discardReceived()
        case .datagrams(let datagrams):
            datagrams.takeReceived(counters)
            return true
        }
    }
}
