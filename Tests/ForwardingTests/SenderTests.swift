import Addressing
import Forwarding
import Glibc
import Linux
import Logging
import Metrics
import Security
import SecurityFixtures
import Testing
import Time

/// A queue that a second thread sends over TLS, the connection that needs it most.
///
/// The socket's buffer is small, so that it is nearly always full.
@Suite("A second thread that sends over TLS", .timeLimit(.minutes(10)))
struct SenderTests {
    private static let queueByteCount = 256 << 10
    /// What a queue is filled with at most: it fits into one of two queues.
    private static let filledByteCount = 64 << 10
    private static let byteCount = 1_000_003
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    /// No two stretches of it are alike.
    private let bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    private struct NoThread: Error {}
    private struct NoConnection: Error {}

    private static func sender(
        to connection: consuming sending DataConnection, _ policy: Sender.Policy = .never
    ) throws -> Sender {
        try Sender(
            connection, queueByteCount: queueByteCount, policy, CaptureCounters(), logger: quiet
        ) { Watchdog().begin("") }
    }

    /// A connection whose one end a sender has, and whose other end is read here.
    private struct Ends: ~Copyable {
        var sender: Sender
        var client: TLSConnection

        init() throws {
            let folder = try Certificates.make()
            let listener = try Listener(
                at: SocketAddress(IPAddress(ipv4: 0x7f00_0001), port: 0))
            let dialled = try Connection(
                to: listener.local, until: .now + .seconds(10), cancel: Event())
            guard let accepted = try listener.accept() else { throw NoConnection() }
            try Self.shrinkSendBuffer(of: dialled.fileDescriptor)
            var server = try TLSServer(
                certificate: folder.file("agent.pem"), key: folder.file("agent.key")
            ).accept(dialled)
            var client = try TLSClient(trusting: .file(folder.file("ca.pem")))
                .connect(accepted, host: nil)
            while try [server.handshake(), client.handshake()] != [nil, nil] {
                _ = try poll([], milliseconds: 1)
            }
            let sender = try SenderTests.sender(to: .secure(SecureStream(server)))
            self.client = client
            self.sender = sender
        }

        /// Makes a socket take less than a record at a time.
        private static func shrinkSendBuffer(of fileDescriptor: CInt) throws {
            // Safety: the kernel reads the value during the call.
            var byteCount: CInt = 4096
            try call("setsockopt") {
                unsafe setsockopt(
                    fileDescriptor, SOL_SOCKET, SO_SNDBUF, &byteCount,
                    socklen_t(MemoryLayout<CInt>.size))
            }
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
            _ = consume sender
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while true {
                guard let count = try client.receive(into: &buffer) else {
                    _ = try poll(
                        [(client.fileDescriptor, client.receiveWaitsFor)], milliseconds: 10_000)
                    continue
                }
                if count == 0 { return bytes }
                bytes += buffer[..<count]
            }
        }
    }

    /// Queues what there is room for, from one position up to another, and returns where it ended.
    private func fill(
        _ queue: inout ByteQueue, from begin: Int, upTo limit: Int = byteCount
    ) -> Int {
        var end = begin
        while end < limit {
            let count = min(1000, limit - end)
            guard queue.byteCount + count <= Self.filledByteCount, queue.hasRoom(for: count)
            else { break }
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
        var (queuedCount, received, isStarted) = (0, [UInt8](), false)
        while received.count < bytes.count {
            queuedCount = fill(&ends.sender.queue, from: queuedCount)
            let isLast = queuedCount == bytes.count
            try ends.sender.send(isLast: isLast, now: .now)
            let isBlocked = ends.sender.isBlocked
            if !isStarted, queuedCount >= startsAt {
                #expect(startsAt == 0 || isBlocked)
                try ends.sender.startThread()
                isStarted = true
            }
            received += try ends.receive()
        }
        let isSame = received == bytes
        #expect(isSame)
        let waitingByteCount = ends.sender.waitingByteCount
        #expect(waitingByteCount == 0)
        guard let leftover = ends.sender.stopThread() else { throw NoThread() }
        let leftoverByteCount = leftover.byteCount
        #expect(leftoverByteCount == 0)
    }

    @Test("comes and goes, and all bytes keep their order")
    func comesAndGoes() throws {
        var ends = try Ends()
        var (queuedCount, received, stopCount) = (0, [UInt8](), 0)
        // It goes whenever a stretch has been sent, which is more than queues and sockets hold.
        let stretch = bytes.count / 4
        while received.count < bytes.count {
            let limit = min(bytes.count, (stopCount + 1) * stretch)
            queuedCount = fill(&ends.sender.queue, from: queuedCount, upTo: limit)
            let isLast = queuedCount == bytes.count
            try ends.sender.send(isLast: isLast, now: .now)
            let hasSent =
                queuedCount == limit && ends.sender.queue.byteCount == 0
                && ends.sender.isThreadIdle
            if !ends.sender.hasThread {
                try ends.sender.startThread()
            } else if hasSent, !isLast, let rest = ends.sender.stopThread() {
                #expect(rest.byteCount == 0)
                stopCount += 1
            }
            received += try ends.receive()
        }
        let isSame = received == bytes
        #expect(isSame)
        #expect(stopCount == 4)
        _ = ends.sender.stopThread()
    }

    @Test("ends while much waits, and all bytes keep their order")
    func endsInTheMiddle() throws {
        var ends = try Ends()
        try ends.sender.startThread()
        var (queuedCount, received, quietCount) = (0, [UInt8](), 0)
        while received.count < bytes.count {
            let end = fill(&ends.sender.queue, from: queuedCount)
            quietCount = end == queuedCount ? quietCount + 1 : 0
            queuedCount = end
            try ends.sender.send(isLast: queuedCount == bytes.count, now: .now)
            // Both queues are full, as nobody has read yet.
            if ends.sender.hasThread, quietCount == 20 {
                let before = ends.sender.unsentByteCount
                ends.sender.continueInline()
                let after = ends.sender.unsentByteCount
                #expect(before == after && after > Self.filledByteCount)
            }
            if ends.sender.hasThread {
                _ = try poll([], milliseconds: 1)
            } else {
                received += try ends.receive()
            }
        }
        let isSame = received == bytes
        #expect(isSame)
        let unsentByteCount = ends.sender.unsentByteCount
        #expect(unsentByteCount == 0)
    }

    @Test("says what it has not sent")
    func leftover() throws {
        var ends = try Ends()
        try ends.sender.startThread()
        var (queuedCount, quietCount) = (0, 0)
        // Until both queues are full, as nobody reads.
        while quietCount < 100 {
            let end = fill(&ends.sender.queue, from: queuedCount)
            let isQuiet = end == queuedCount && ends.sender.waitingByteCount > 0
            quietCount = isQuiet ? quietCount + 1 : 0
            queuedCount = end
            try ends.sender.send(isLast: false, now: .now)
            if ends.sender.isBlocked { _ = try poll([], milliseconds: 5) }
        }
        let waitingByteCount = ends.sender.waitingByteCount
        let unsentByteCount = ends.sender.unsentByteCount
        guard let leftover = ends.sender.stopThread() else { throw NoThread() }
        let unsent = leftover.bytes.array
        let sentCount = queuedCount - ends.sender.queue.byteCount - unsent.count
        #expect(unsent.count == waitingByteCount)
        #expect(unsentByteCount == queuedCount - sentCount)
        #expect(unsent.count > 0 && sentCount > 0)
        let isRest = unsent == Array(bytes[sentCount..<sentCount + unsent.count])
        #expect(isRest)
        let received = try ends.end()
        let isPrefix = received == Array(bytes[..<received.count])
        #expect(received.count == sentCount)
        #expect(isPrefix)
    }

    @Test("does not begin before there is a connection, and nothing is sent")
    func awaited() throws {
        var sender = try Self.sender(to: .awaited, .always)
        let queuedCount = fill(&sender.queue, from: 0)
        let interest = try sender.send(isLast: false, now: .now)
        let change = sender.balance(now: .now) { .zero }
        #expect(interest == nil && change == nil)
        let (isAwaited, hasThread) = (sender.isAwaited, sender.hasThread)
        let (unsentCount, due) = (sender.unsentByteCount, sender.dueAt)
        #expect(isAwaited && !hasThread)
        #expect(unsentCount == queuedCount)
        #expect(due == nil)
    }
}
