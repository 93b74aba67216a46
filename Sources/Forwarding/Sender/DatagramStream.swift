package import Linux
package import RPCAP

import Glibc

/// A capture's packets on their way over UDP: out of the queue into datagrams, and many of those at
/// a time to the kernel. It belongs to the thread that sends.
///
/// No error ends it. A datagram that cannot be sent is counted and the next one tried, for a sensor
/// that was away for a minute is to get what comes after.
package final class DatagramStream {
    private let sender: DatagramSender
    private var writer: DatagramWriter
    private var batch: DatagramBatch
    private let flushNanoseconds: UInt64
    /// Since when bytes wait that do not fill a datagram.
    private var waitingSince: UInt64?

    /// A datagram that is not full waits no longer for more: a person who looks on hardly notices,
    /// and a link with 20 packets a second or more fills datagrams better.
    private static let flushMillisecondsMax: UInt32 = 50

    /// How often a datagram is tried whose failure may be an earlier one's. The kernel holds one such
    /// error at a time, so the second try tells; but where a port is closed nearby, the answer to the
    /// datagram before may come between any two tries.
    private static let tryCountMax = 2
    private static let refusedTryCountMax = 8

    /// Opens the socket, and sends nothing. Datagrams come from one of the ports, if any are given. A
    /// udpstr datagram is no longer than this, and than the route's MTU allows. A client that says how
    /// long it waits for more packets gets datagrams that are not full as soon; 0 says nothing.
    ///
    /// Throws where there is no route, or no free port.
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
        flushNanoseconds = UInt64(min(timeout, Self.flushMillisecondsMax)) * 1_000_000
    }

    package var local: SocketAddress { sender.local }
    package var peer: SocketAddress { sender.peer }

    package var number: CInt { sender.fileDescriptor }

    package var waitingByteCount: Int { batch.byteCount }

    /// After how long a datagram is to be sent although it is not full. Rounded up, so that it is
    /// due then; nil also while the socket takes nothing, which time alone does not change.
    package var dueMilliseconds: CInt? {
        guard let waitingSince, batch.isEmpty else { return nil }
        let now = monotonicNanoseconds()
        let due = waitingSince + flushNanoseconds
        return now >= due ? 0 : CInt((due - now + 999_999) / 1_000_000)
    }

    /// Sends full datagrams, and one that is not if it has waited for long enough or nothing more
    /// is to come. Answers false if the socket takes no more for now.
    package func send(
        from queue: inout ByteQueue, isLast: Bool, _ counters: CaptureCounters
    ) -> Bool {
        let now = monotonicNanoseconds()
        while true {
            if batch.isEmpty { fill(from: &queue, isLast: isLast, now: now) }
            if batch.isEmpty { return true }
            guard sendBatch(counters) else { return false }
        }
    }

    private func fill(from queue: inout ByteQueue, isLast: Bool, now: UInt64) {
        let isFlushing = isLast || waitingSince.map { now >= $0 + flushNanoseconds } ?? false
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
            waitingSince = nil
        } else if consumedByteCount > 0 || waitingSince == nil {
            waitingSince = now
        }
    }

    /// Answers false if some are left because the socket takes no more for now.
    private func sendBatch(_ counters: CaptureCounters) -> Bool {
        var tryCount = 0
        var isCutShort = false
        while !batch.isEmpty {
            switch sender.send(&batch) {
            case .wouldBlock: return false
            case .sent(let count):
                counters.add(count, to: .datagramsSent)
                // What went away when asked again was about earlier ones. So was what stopped a call
                // that had sent some already, which the kernel keeps to itself (sendmmsg(2)).
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

    /// Lets go of a datagram that cannot be sent, and where it was too long of all like it that
    /// follow: once packets are cut into datagrams they cannot be cut anew.
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

    /// Has further datagrams be as long as the route carries by now, never longer than before.
    private func shorten() {
        if let route = try? sender.payloadByteCountMax() {
            writer.limit(to: min(writer.byteCountMax, route))
        }
    }

    /// Takes what the peer sent and the errors that came back, which are counted.
    package func takeReceived(_ counters: CaptureCounters) {
        counters.add(sender.takeReceived(), to: .datagramsRefused)
    }
}
