package import Linux
package import RPCAP
package import Time

/// A UDP socket that the packets of a capture are sent over, many datagrams with each system call.
///
/// No error ends it. A datagram that cannot be sent is counted and the next one tried, since a sensor
/// that was away for a minute should get what follows. It belongs to the sending thread.
package final class DatagramStream {
    private let sender: DatagramSender
    private var writer: DatagramWriter
    private var batch: DatagramBatch
    private let flushInterval: Duration
    /// When bytes that fill no datagram must be sent; nil if there are none.
    private var flushAt: MonotonicTime?

    /// The longest time that a datagram waits to be filled.
    ///
    /// A person who watches hardly notices it, and a link with 20 packets a second or more fills
    /// datagrams better.
    private static let flushMillisecondsMax: UInt32 = 50

    /// The number of tries for a datagram whose failure may belong to an earlier one.
    ///
    /// The kernel holds one such error at a time, so the second try tells.
    private static let tryCountMax = 2
    /// The number of tries after "connection refused".
    ///
    /// If a port nearby is closed, the answer to the datagram before may come between any two tries.
    private static let refusedTryCountMax = 8

    /// Opens the socket, and sends nothing.
    ///
    /// - Parameters:
    ///   - peer: The address to send to.
    ///   - ports: The local ports to choose from; nil for any.
    ///   - format: The form of the datagrams.
    ///   - byteCountMax: The longest udpstr datagram, if the route's MTU allows it.
    ///   - readTimeoutMilliseconds: How long the client waits for more packets, if that is less than
    ///     a datagram would wait to be filled; 0 for not said.
    /// - Throws: If there is no route, or no free port.
    package init(
        to peer: SocketAddress, from ports: ClosedRange<UInt16>? = nil,
        as format: DatagramWriter.Format, byteCountMax: Int = DatagramWriter.wireByteCountMax,
        readTimeoutMilliseconds: UInt32 = 0
    ) throws(SystemError) {
        let sender = try DatagramSender(
            to: peer, from: ports, fragmentation: format == .udpstr ? .refused : .allowed)
        let route = try sender.payloadByteCountMax()
        self.sender = sender
        batch = DatagramBatch()
        writer = DatagramWriter(format, byteCountMax: min(byteCountMax, route))
        let timeout =
            readTimeoutMilliseconds == 0 ? Self.flushMillisecondsMax : readTimeoutMilliseconds
        flushInterval = .milliseconds(Int(min(timeout, Self.flushMillisecondsMax)))
    }

    /// The address that the socket is bound to.
    package var local: SocketAddress { sender.local }
    /// The address that the datagrams go to.
    package var peer: SocketAddress { sender.peer }

    /// The socket, for a poll set.
    package var fileDescriptor: CInt { sender.fileDescriptor }

    /// The number of bytes in datagrams that the socket has not taken yet.
    package var waitingByteCount: Int { batch.byteCount }

    /// When a datagram must be sent although it is not full.
    ///
    /// It is nil too while the socket takes nothing, which time alone does not change.
    package var dueAt: MonotonicTime? { batch.isEmpty ? flushAt : nil }

    /// Sends full datagrams, and one that is not full if it has waited long enough.
    ///
    /// - Parameters:
    ///   - queue: The bytes to send; what was sent is removed.
    ///   - isLast: Whether no more bytes follow, so that nothing waits to fill a datagram.
    ///   - now: The time.
    ///   - counters: Counts the datagrams.
    /// - Returns: False if the socket takes no more for now.
    package func send(
        from queue: inout ByteQueue, isLast: Bool, now: MonotonicTime, _ counters: CaptureCounters
    ) -> Bool {
        while true {
            if batch.isEmpty { fill(from: &queue, isLast: isLast, now: now) }
            if batch.isEmpty { return true }
            guard sendBatch(counters) else { return false }
        }
    }

    private func fill(from queue: inout ByteQueue, isLast: Bool, now: MonotonicTime) {
        let isFlushing = isLast || flushAt.map { now >= $0 } ?? false
        var consumedByteCount = 0
        while batch.hasRoom(for: writer.byteCountMax) {
            let rest = queue.bytes.extracting(droppingFirst: consumedByteCount)
            var room = batch.room
            guard let written = writer.write(rest, into: &room, isFlushing: isFlushing) else {
                break
            }
            consumedByteCount += written.consumedByteCount
            batch.append(byteCount: written.byteCount)
        }
        queue.removeFirst(consumedByteCount)
        if queue.byteCount == 0 {
            flushAt = nil
        } else if consumedByteCount > 0 || flushAt == nil {
            flushAt = now + flushInterval
        }
    }

    /// - Returns: False if some are left because the socket takes no more for now.
    private func sendBatch(_ counters: CaptureCounters) -> Bool {
        var tryCount = 0
        var isCutShort = false
        while !batch.isEmpty {
            switch sender.send(&batch) {
            case .wouldBlock: return false
            case .sent(let count):
                counters.add(count, to: .datagramsSent)
                // An error that went away with the next try belonged to earlier datagrams. So did the
                // one that ended a call which had sent some: sendmmsg(2) does not report it.
                counters.add(isCutShort ? 1 : tryCount, to: .datagramsRefused)
                tryCount = 0
                isCutShort = !batch.isEmpty
            case .failed(let errno):
                isCutShort = false
                tryCount += 1
                if errno == .messageTooLong { shorten() }
                let isOthers = errno == .connectionRefused
                guard tryCount >= (isOthers ? Self.refusedTryCountMax : Self.tryCountMax) else {
                    continue
                }
                drop(errno, counters)
                tryCount = 0
            }
        }
        return true
    }

    /// Drops a datagram that cannot be sent.
    ///
    /// If it was too long, those behind it that are too long are dropped as well: packets that have
    /// been cut into datagrams cannot be cut again.
    private func drop(_ errno: Errno, _ counters: CaptureCounters) {
        batch.removeFirst(1)
        guard errno == .messageTooLong else {
            return counters.add(1, to: .datagramsFailed)
        }
        var count = 1
        while batch.firstByteCount > writer.byteCountMax {
            batch.removeFirst(1)
            count += 1
        }
        counters.add(count, to: .datagramsTooLarge)
    }

    /// Makes further datagrams as long as the route carries by now, never longer than before.
    private func shorten() {
        if let route = try? sender.payloadByteCountMax() {
            writer.limit(to: min(writer.byteCountMax, route))
        }
    }

    /// Drops what the peer has sent, and counts the errors that the network has reported.
    package func takeReceived(_ counters: CaptureCounters) {
        counters.add(sender.takeReceived(), to: .datagramsRefused)
    }
}
