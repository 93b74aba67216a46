import Metrics
import Forwarding
import Addressing
import Linux
import Testing
import Security

/// A queue that a second thread sends over TLS, the connection that needs it most.
///
/// The socket's buffer is small, so that it is nearly always full.
@Suite("A second thread that sends over TLS", .timeLimit(.minutes(1)))
struct TransmitterTests {
    private let counters = CaptureCounters()
    private static let queueByteCount = 64 << 10
    private static let byteCount = 1_000_003
    /// No two stretches of it are alike.
    private let bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    private static func queue() throws -> ByteQueue {
        try ByteQueue(
            byteCountMax: queueByteCount, headroomByteCount: Transmitter.restByteCountMax)
    }

    private struct NoThread: Error {}

    /// A connection whose one end a transmitter has, and whose other end is read here.
    private struct Ends: ~Copyable {
        var transmitter: Transmitter
        var client: TLSConnection

        init() throws {
            let folder = try Certificates.make()
            let pair = try Pair(
                TLSServer(certificate: folder.file("agent.pem"), key: folder.file("agent.key")),
                TLSClient(trusting: .file(folder.file("ca.pem"))))
            try TLSStreamTests.shrinkBuffer(of: pair.server.fileDescriptor)
            let transmitter = try Transmitter(.secure(SecureStream(pair.server)))
            client = pair.client
            self.transmitter = transmitter
        }

        /// Takes what has come, or waits a moment for more.
        mutating func receive() throws -> ArraySlice<UInt8> {
            var buffer = [UInt8](repeating: 0, count: 5000)
            if let count = try client.receive(into: &buffer) { return buffer[..<count] }
            _ = try poll([(client.fileDescriptor, client.receiveWaitsFor)], milliseconds: 1)
            return []
        }

        /// Closes the connection, and takes what is still on its way.
        consuming func end() throws -> [UInt8] {
            var client = client
            _ = consume transmitter
            return try Loopback.receive(TransmitterTests.byteCount, from: &client)
        }
    }

    /// Queues what there is room for, from a place on and at most to another, and answers up to where that
    /// was.
    private func fill(
        _ queue: inout ByteQueue, from begin: Int, upTo limit: Int = byteCount
    ) -> Int {
        var end = begin
        while end < limit {
            let count = min(1000, limit - end)
            guard queue.makeRoom(for: count) else { break }
            queue.append(bytes.wire.extracting(end..<end + count))
            end += count
        }
        return end
    }

    @Test(
        "keeps the order of all bytes, also if it comes in the middle of a record",
        arguments: [0, 300_000])
    func order(startsAt: Int) throws {
        var ends = try Ends()
        var queue = try Self.queue()
        var (queuedCount, received, isStarted) = (0, [UInt8](), false)
        while received.count < bytes.count {
            queuedCount = fill(&queue, from: queuedCount)
            let isLast = queuedCount == bytes.count
            let takesMore = try ends.transmitter.send(from: &queue, isLast: isLast, counters)
            if !isStarted, queuedCount >= startsAt {
                #expect(startsAt == 0 || !takesMore)
                var first = try Self.queue()
                first.append(queue.bytes)
                queue = first
                try ends.transmitter.start(try Self.queue(), counters) { Watchdog().begin("") }
                isStarted = true
            }
            received += try ends.receive()
        }
        let isSame = received == bytes
        #expect(isSame)
        let waitingByteCount = ends.transmitter.waitingByteCount
        #expect(waitingByteCount == 0)
        guard let leftover = ends.transmitter.stop() else { throw NoThread() }
        let leftoverByteCount = leftover.byteCount
        #expect(leftoverByteCount == 0)
    }

    @Test("comes and goes, and all bytes keep their order")
    func comesAndGoes() throws {
        var ends = try Ends()
        var queue = try Self.queue()
        var (queuedCount, received, stopCount) = (0, [UInt8](), 0)
        // It goes whenever so many bytes have been sent, which is more than queues and sockets hold.
        let stretch = bytes.count / 4
        while received.count < bytes.count {
            let limit = min(bytes.count, (stopCount + 1) * stretch)
            queuedCount = fill(&queue, from: queuedCount, upTo: limit)
            let isLast = queuedCount == bytes.count
            _ = try ends.transmitter.send(from: &queue, isLast: isLast, counters)
            let hasSent = queuedCount == limit && queue.byteCount == 0 && ends.transmitter.isIdle
            if !ends.transmitter.hasThread {
                var half = try Self.queue()
                half.append(queue.bytes)
                queue = half
                try ends.transmitter.start(try Self.queue(), counters) { Watchdog().begin("") }
            } else if hasSent, !isLast, let rest = ends.transmitter.stop() {
                #expect(rest.byteCount == 0)
                stopCount += 1
            }
            received += try ends.receive()
        }
        let isSame = received == bytes
        #expect(isSame)
        #expect(stopCount == 4)
        _ = ends.transmitter.stop()
    }

    @Test("says what it has not sent")
    func leftover() throws {
        var ends = try Ends()
        var queue = try Self.queue()
        try ends.transmitter.start(try Self.queue(), counters) { Watchdog().begin("") }
        var (queuedCount, quietCount) = (0, 0)
        // Until both queues are full, as nobody reads.
        while quietCount < 20 {
            let end = fill(&queue, from: queuedCount)
            quietCount = end == queuedCount ? quietCount + 1 : 0
            queuedCount = end
            if try !ends.transmitter.send(from: &queue, isLast: false, counters) {
                _ = try poll([], milliseconds: 5)
            }
        }
        let waitingByteCount = ends.transmitter.waitingByteCount
        guard let leftover = ends.transmitter.stop() else { throw NoThread() }
        let unsent = leftover.bytes.array
        let sentCount = queuedCount - queue.byteCount - unsent.count
        #expect(unsent.count == waitingByteCount)
        #expect(unsent.count > 0 && sentCount > 0)
        let isRest = unsent == Array(bytes[sentCount..<sentCount + unsent.count])
        #expect(isRest)
        let received = try ends.end()
        let isPrefix = received == Array(bytes[..<received.count])
        #expect(received.count == sentCount)
        #expect(isPrefix)
    }
}
