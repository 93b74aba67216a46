import Addressing
import Linux
import Time

/// A reader of the feed: a connection, and a queue of what it has not taken yet.
///
/// Its slowness costs it packets, which are counted, and nobody else anything.
final class FeedReader {
    let id: Int
    /// The target that was dialled, by its place; nil if the reader has connected.
    let target: Int?
    private let connection: Connection
    private var queue: ByteQueue
    /// The part of the stream's preamble that is in the queue or sent.
    private var preamble = (generation: 0, byteCount: 0)
    /// Whether the socket takes nothing now.
    private var isBlocked = false
    /// Whether the reader has ended its side of the connection, as `ncat` does that has no input.
    private(set) var hasEndedSending = false
    private var receivedByteCount = 0
    private(set) var packetCount: UInt64 = 0
    private(set) var byteCount: UInt64 = 0
    private(set) var lostCount: UInt64 = 0
    /// Why it is over; nil while it is not.
    private(set) var endReason: String?

    /// The most bytes that wait for a reader; what comes beyond is lost for it.
    ///
    /// 64 readers that are all stopped take 512 MiB. A reader that pauses for a moment at a gigabit a
    /// second loses nothing.
    static let queueByteCountMax = 8 << 20
    /// The most bytes that a reader may send, which are thrown away.
    ///
    /// Some say hello in one way or another; none has to be read without end.
    static let receivedByteCountMax = 64 << 10

    init(
        _ connection: consuming Connection, id: Int, target: Int?
    ) throws(SystemError) {
        try connection.watchPeer()
        try connection.sendAtOnce()
        queue = try ByteQueue(byteCountMax: Self.queueByteCountMax)
        self.id = id
        self.target = target
        self.connection = connection
    }

    var peer: SocketAddress { connection.peer }

    /// The ends of the connection, which no agent is to capture.
    var ends: [SocketAddress] { [connection.local, connection.peer] }

    /// What to wait for.
    var request: (fileDescriptor: CInt, interest: Readiness) {
        var interest: Readiness = hasEndedSending ? [] : .readable
        if isBlocked { interest.insert(.writable) }
        return (connection.fileDescriptor, interest)
    }

    /// Whether half of its queue is full.
    var isBehind: Bool { endReason == nil && queue.byteCount > Self.queueByteCountMax / 2 }

    /// Whether everything has been sent.
    var isDone: Bool { endReason != nil || queue.byteCount == 0 }

    /// The time after which the kernel gives up a reader that reads nothing, in words.
    private static let silenceText = "it has read nothing for a minute"

    /// Takes a batch of the stream, as far as there is room.
    func take(_ stream: FeedStream) {
        guard endReason == nil else { return }
        let count = stream.packetEnds.count
        guard catchUp(with: stream) else {
            lostCount &+= UInt64(count)
            return
        }
        guard count > 0 else { return }
        let room = Self.queueByteCountMax - queue.byteCount
        let taken = stream.packetCount(in: room)
        lostCount &+= UInt64(count - taken)
        guard taken > 0 else { return }
        let bytes = stream.batch.wire.extracting(first: stream.packetEnds[taken - 1])
        packetCount &+= UInt64(taken)
        byteCount &+= UInt64(bytes.byteCount)
        // Most readers keep up, and their bytes need not go through the queue.
        let sent = queue.byteCount == 0 && !isBlocked ? send(bytes) : 0
        if endReason == nil, sent < bytes.byteCount {
            queue.append(bytes.extracting(sent..<bytes.byteCount))
        }
    }

    /// Queues what the reader has not been told of the section and its interfaces.
    ///
    /// - Returns: Whether it knows all now.
    private func catchUp(with stream: FeedStream) -> Bool {
        if preamble.generation != stream.generation { preamble = (stream.generation, 0) }
        let rest = stream.preamble.count - preamble.byteCount
        guard rest > 0 else { return true }
        guard queue.hasRoom(for: rest) else { return false }
        queue.append(stream.preamble.wire.extracting(last: rest))
        preamble.byteCount = stream.preamble.count
        flush()
        return endReason == nil
    }

    /// Sends what waits.
    func flush() {
        guard endReason == nil, !isBlocked, queue.byteCount > 0 else { return }
        do throws(SystemError) {
            isBlocked = try !queue.send { bytes throws(SystemError) in
                try connection.descriptor.send(bytes)
            }
        } catch {
            end(error)
        }
    }

    private func send(_ bytes: RawSpan) -> Int {
        do throws(SystemError) {
            let count = try connection.descriptor.send(bytes)
            isBlocked = count < bytes.byteCount
            return count
        } catch {
            end(error)
            return 0
        }
    }

    /// Does what the connection is ready for.
    func serve(_ ready: Readiness, into buffer: inout [UInt8]) {
        if ready.contains(.writable) {
            isBlocked = false
            flush()
        }
        if !ready.isDisjoint(with: [.readable, .failed]) { discard(into: &buffer) }
    }

    /// Reads what the reader sends, and throws it away.
    private func discard(into buffer: inout [UInt8]) {
        guard endReason == nil else { return }
        do throws(SystemError) {
            switch try connection.receive(into: &buffer) {
            case nil: break
            case 0:
                // With a second look at a connection whose both sides have ended there is no third.
                if hasEndedSending { end("it has closed the connection") }
                hasEndedSending = true
            case let count?:
                receivedByteCount += count
                if receivedByteCount > Self.receivedByteCountMax {
                    end("it sends, and readers have nothing to say")
                }
            }
        } catch {
            end(error)
        }
    }

    private func end(_ error: SystemError) {
        switch error.errno {
        case .brokenPipe, .connectionReset: end("it has closed the connection")
        case .timedOut: end(Self.silenceText)
        default: end("\(error)")
        }
    }

    /// Ends the reader; the first reason counts.
    ///
    /// What waits is lost. The number of its packets is an estimate by their mean length.
    func end(_ reason: String) {
        guard endReason == nil else { return }
        endReason = reason
        let waiting = UInt64(queue.byteCount)
        guard waiting > 0, byteCount > 0 else { return }
        let estimate = min(packetCount, max(1, waiting &* packetCount / byteCount))
        packetCount -= estimate
        lostCount &+= estimate
        byteCount -= min(byteCount, waiting)
    }

    /// Ends the stream in order, after the last byte.
    func close() { connection.endSending() }
}
