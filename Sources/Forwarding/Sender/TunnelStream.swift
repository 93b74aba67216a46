import Addressing
package import Linux
import RPCAP
package import Tunnels

/// The sockets that the packets of a capture are sent over in a tunnel, each packet in a datagram.
///
/// Nothing answers, and no error ends it: a datagram that cannot be sent is counted as lost, and the
/// next one tried. A full socket is waited for, as every connection is. It belongs to the sending
/// thread.
package final class TunnelStream {
    private var fan: DatagramFan
    private let header: TunnelHeader
    private let echo: TunnelEcho
    private let news: TunnelNews
    /// Reports which sockets have errors, or room again.
    private var poller: Poller<UInt64>
    /// The sockets that are waited for until they have room.
    private var blocked: Set<CInt> = []
    /// The bytes that the packets in the fan had in the queue.
    private var waitingRecordsByteCount = 0

    /// Opens the sockets, and sends nothing.
    ///
    /// - Parameters:
    ///   - peer: The address to send to.
    ///   - header: What stands before each frame.
    ///   - mayJoin: Whether the kernel may be given several datagrams as one to be cut. A packet
    ///     socket on this node would see them uncut.
    ///   - news: Is told what the keeper of the tunnel has to know.
    /// - Throws: If there is no route, or no free port.
    package init(
        to peer: SocketAddress, _ header: TunnelHeader, mayJoin: Bool = true, _ news: TunnelNews
    ) throws(SystemError) {
        var fan = try DatagramFan(to: peer, from: FlowHash.ports)
        fan.mayJoin = mayJoin
        poller = try Poller()
        for descriptor in fan.fileDescriptors {
            // Errors are reported unasked. What the peer sends is never read.
            try poller.add(descriptor, as: UInt64(descriptor), for: [])
        }
        echo = TunnelEcho(try fan.local(), fan.ports)
        self.header = header
        self.news = news
        self.fan = fan
    }

    /// The addresses that the sockets are bound to.
    package var locals: [SocketAddress] { echo.locals }

    /// The longest frame that the route carries in one datagram, as far as the kernel knows by now.
    package var frameByteCountMax: Int? {
        (try? fan.routePayloadByteCountMax()).map { $0 - TunnelHeader.byteCount }
    }

    /// A descriptor for a poll set: readable when a socket has an error, or room again.
    var fileDescriptor: CInt { poller.fileDescriptor }

    /// The number of packets in datagrams that no socket has taken yet.
    var waitingCount: Int { fan.waitingCount }

    /// The bytes that these had in the queue.
    var waitingByteCount: Int { waitingRecordsByteCount }

    /// Sends what the sockets take.
    ///
    /// - Parameters:
    ///   - queue: The packets to send, all whole; what was sent is removed.
    ///   - counters: Counts the datagrams, and the packets that are lost.
    /// - Returns: False if a socket takes no more for now.
    package func send(from queue: inout ByteQueue, _ counters: CaptureCounters) -> Bool {
        while true {
            if fan.waitingCount == 0 {
                waitingRecordsByteCount = 0
                if queue.byteCount == 0 { return true }
                queue.removeFirst(fill(from: queue.bytes, counters))
            }
            guard sendWaiting(counters) else { return false }
        }
    }

    /// Copies packets from the queue into the fan, each behind the tunnel's header.
    ///
    /// - Returns: The number of bytes that need not stay in the queue.
    private func fill(from bytes: RawSpan, _ counters: CaptureCounters) -> Int {
        var offset = 0
        while offset + PacketRecord.headerByteCount <= bytes.byteCount {
            let start = offset + PacketRecord.headerByteCount
            let end = start + PacketRecord.frameByteCount(in: bytes, at: offset)
            let byteCount = TunnelHeader.byteCount + end - start
            let frame = bytes.extracting(start..<end)
            if byteCount > fan.payloadByteCountMax {
                lose(end - offset, because: .messageTooLong, counters)
            } else if let address = echo.destination(of: frame) {
                news.note(echoAt: address)
                fan.mayJoin = false
                count(lost: end - offset, .packetsLostAsEcho, counters)
            } else {
                guard fan.hasRoom(for: byteCount) else { break }
                let index = FlowHash.index(of: FlowHash.hash(of: frame), count: fan.count)
                var room = fan.room
                header.store(into: &room)
                room.store(frame, at: TunnelHeader.byteCount)
                fan.append(byteCount: byteCount, from: index)
                waitingRecordsByteCount += end - offset
            }
            offset = end
        }
        return offset
    }

    /// - Returns: False if some are left because a socket takes no more for now.
    private func sendWaiting(_ counters: CaptureCounters) -> Bool {
        var (sentCount, isBlocked) = (0, false)
        fan.send { event in
            switch event {
            case .sent(let count, let byteCount):
                sentCount += count
                waitingRecordsByteCount -= recordsByteCount(count, byteCount)
            case .reported(let errno):
                counters.add(1, to: .datagramsRefused)
                news.note(refusal: errno)
            case .dropped(let errno, let byteCount):
                let recordByteCount = recordsByteCount(1, byteCount)
                waitingRecordsByteCount -= recordByteCount
                lose(recordByteCount, because: errno, counters)
            case .blocked(_, let descriptor):
                isBlocked = true
                wait(for: descriptor, true)
            }
        }
        counters.add(sentCount, to: .datagramsSent)
        if !isBlocked {
            for descriptor in blocked { wait(for: descriptor, false) }
        }
        return !isBlocked
    }

    /// The bytes that datagrams had in the queue.
    private func recordsByteCount(_ count: Int, _ byteCount: Int) -> Int {
        byteCount + count * (PacketRecord.headerByteCount - TunnelHeader.byteCount)
    }

    private func lose(_ byteCount: Int, because errno: Errno, _ counters: CaptureCounters) {
        count(lost: byteCount, .lost(because: errno), counters)
        news.note(loss: errno)
    }

    private func count(lost byteCount: Int, _ metric: CaptureMetric, _ counters: CaptureCounters) {
        counters.add(1, to: metric)
        counters.add(byteCount, to: .bytesLost)
    }

    private func wait(for descriptor: CInt, _ isBlocked: Bool) {
        guard blocked.contains(descriptor) != isBlocked else { return }
        if isBlocked { blocked.insert(descriptor) } else { blocked.remove(descriptor) }
        // The descriptor is in the set, so this cannot fail.
        try? poller.setInterest(
            of: descriptor, as: UInt64(descriptor),
            to: isBlocked ? .writable : [])
    }

    /// Counts the errors that the network has reported.
    package func takeReceived(_ counters: CaptureCounters) {
        guard let count = try? poller.wait(milliseconds: 0) else { return }
        for index in 0..<count where poller.hasFailed(at: index) {
            for errno in fan.takeErrors(of: CInt(poller.key(at: index))) {
                counters.add(1, to: .datagramsRefused)
                news.note(refusal: errno)
            }
        }
    }
}

extension CaptureMetric {
    /// Where a packet is counted that the kernel has not taken.
    fileprivate static func lost(because errno: Errno) -> Self {
        switch errno {
        case .noBufferSpace, .noMemory: .packetsLostWithoutBuffer
        case .messageTooLong: .packetsLostAsTooLarge
        case .hostUnreachable, .networkUnreachable, .networkDown: .packetsLostUnreachable
        default: .packetsLostOtherwise
        }
    }
}
