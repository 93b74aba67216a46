import Addressing
import Glibc
import Linux
import Security
import SecurityFixtures
import Testing

/// What becomes of many bytes, and of ciphertext that somebody on the way has touched.
@Suite("A stream over TLS")
struct TLSStreamTests {
    private let server: TLSServer
    private let client: TLSClient
    private let folder: Folder

    init() throws {
        folder = try Certificates.make()
        server = try TLSServer(
            certificate: folder.file("agent.pem"), key: folder.file("agent.key"))
        client = try TLSClient(trusting: .file(folder.file("ca.pem")))
    }

    /// Bytes on their way from one end to the other.
    private struct Transfer {
        let bytes: [UInt8]
        let isSentAsSpan: Bool
        var sentCount = 0
        var received: [UInt8] = []
        var refusalCount = 0

        var isDone: Bool { received.count == bytes.count }

        init(byteCount: Int, seed: UInt8, isSentAsSpan: Bool) {
            bytes = (0..<byteCount).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) ^ seed }
            self.isSentAsSpan = isSentAsSpan
        }

        /// Sends until the socket takes no more, always from another place in memory.
        mutating func send(to connection: inout TLSConnection) throws {
            while sentCount < bytes.count {
                let rest = Array(bytes[sentCount..<min(bytes.count, sentCount + 50_000)])
                let count =
                    isSentAsSpan ? try connection.send(rest.wire) : try connection.send(rest[...])
                guard count > 0 else {
                    refusalCount += 1
                    return
                }
                sentCount += count
            }
        }

        mutating func receive(from connection: inout TLSConnection) throws {
            var buffer = [UInt8](repeating: 0, count: 5000)
            while let count = try connection.receive(into: &buffer) {
                try #require(count > 0, "the stream has ended")
                received += buffer[..<count]
            }
        }
    }

    @Test("arrives whole in both directions, however little the sockets take")
    func bothWays() throws {
        var pair = try Pair(server, client)
        for number in [pair.server.fileDescriptor, pair.client.fileDescriptor] {
            try Loopback.shrinkSendBuffer(of: number)
        }
        var up = Transfer(byteCount: 2_000_003, seed: 0x55, isSentAsSpan: true)
        var down = Transfer(byteCount: 1_500_001, seed: 0xaa, isSentAsSpan: false)
        while !up.isDone || !down.isDone {
            try up.send(to: &pair.server)
            try down.send(to: &pair.client)
            try up.receive(from: &pair.client)
            try down.receive(from: &pair.server)
            if up.isDone, down.isDone { break }
            let interests = [
                (
                    pair.server.fileDescriptor,
                    pair.server.receiveWaitsFor.union(
                        up.sentCount < up.bytes.count ? pair.server.sendWaitsFor : [])
                ),
                (
                    pair.client.fileDescriptor,
                    pair.client.receiveWaitsFor.union(
                        down.sentCount < down.bytes.count ? pair.client.sendWaitsFor : [])
                ),
            ]
            let ready = try poll(interests, milliseconds: Loopback.milliseconds)
            try #require(ready.contains { !$0.isEmpty }, "nothing happens")
        }
        #expect(up.received == up.bytes)
        #expect(down.received == down.bytes)
        #expect(up.refusalCount > 0)
        #expect(down.refusalCount > 0)
    }

    @Test("takes what a queue has, in pieces and from wherever it has been moved")
    func queue() throws {
        var pair = try Pair(server, client)
        try Loopback.shrinkSendBuffer(of: pair.server.fileDescriptor)
        let bytes = Transfer(byteCount: 300_000, seed: 0, isSentAsSpan: true).bytes
        var queue = try ByteQueue(byteCountMax: 65_536)
        var (queuedCount, received) = (0, [UInt8]())
        while received.count < bytes.count {
            while queuedCount < bytes.count, queue.hasRoom(for: 1000) {
                let count = min(1000, bytes.count - queuedCount)
                queue.append(bytes.wire.extracting(queuedCount..<queuedCount + count))
                queuedCount += count
            }
            let isEmpty = try queue.send { part throws(TLSFailure) in try pair.server.send(part) }
            #expect(isEmpty == (queue.byteCount == 0))
            var buffer = [UInt8](repeating: 0, count: 20_000)
            while let count = try pair.client.receive(into: &buffer), count > 0 {
                received += buffer[..<count]
            }
            if isEmpty { continue }
            let ready = try poll(
                [
                    (pair.server.fileDescriptor, pair.server.sendWaitsFor),
                    (pair.client.fileDescriptor, pair.client.receiveWaitsFor),
                ], milliseconds: Loopback.milliseconds)
            try #require(ready.contains { !$0.isEmpty }, "nothing happens")
        }
        #expect(received == bytes)
    }

    @Test("may end on another thread than it has begun on")
    func threads() throws {
        let ends = try Loopback()
        let server = TransferBox(try server.accept(ends.one))
        let echo = try Thread {
            guard var server = server.take() else { return }
            do {
                while let interest = try server.handshake() {
                    try Loopback.wait(server.fileDescriptor, interest)
                }
                let bytes = try Loopback.receive(3, from: &server)
                _ = try server.send(Array(bytes.reversed())[...])
                server.shutDown()
            } catch {
                Issue.record(error)
            }
        }
        var client = try client.connect(ends.other, host: nil)
        while let interest = try client.handshake() {
            try Loopback.wait(client.fileDescriptor, interest)
        }
        #expect(try client.send([1, 2, 3][...]) == 3)
        #expect(try Loopback.receive(4, from: &client) == [3, 2, 1])
        echo.join()
    }

    enum Touch: CaseIterable { case cutInTheMiddle, cutBetween, changed }

    /// An attacker between the two ends passes the handshake and a record of 1,000 bytes.
    ///
    /// The attacker cuts off or changes the next record.
    @Test(
        "that somebody on the way touches ends, and nothing false arrives",
        arguments: Touch.allCases)
    func intercepted(touch: Touch) throws {
        let serverEnds = try Loopback()
        let clientEnds = try Loopback()
        var server = try server.accept(serverEnds.one)
        var client = try client.connect(clientEnds.one, host: "agent.test")
        let serverSide = serverEnds.other
        let clientSide = clientEnds.other
        // TLS 1.3: the client speaks, the server does, and the client has the last word.
        while try client.handshake() != nil {
            try Self.pass(from: clientSide, to: serverSide)
            try Loopback.wait(server.fileDescriptor, .readable)
            #expect(try server.handshake() == .readable)
            try Self.pass(from: serverSide, to: clientSide)
            try Loopback.wait(client.fileDescriptor, .readable)
        }
        try Self.pass(from: clientSide, to: serverSide)
        try Loopback.wait(server.fileDescriptor, .readable)
        #expect(try server.handshake() == nil)
        let bytes = [UInt8](repeating: 7, count: 1000)
        #expect(try server.send(bytes[...]) == 1000)
        try Self.pass(from: serverSide, to: clientSide)
        #expect(try Loopback.receive(1000, from: &client) == bytes)

        #expect(try server.send(bytes[...]) == 1000)
        var record = try Loopback.receive(from: serverSide)
        switch touch {
        case .cutInTheMiddle: record.removeLast(500)
        case .cutBetween: record = []
        case .changed: record[500] ^= 1
        }
        #expect(try clientSide.send(record[...]) == record.count)
        _ = consume clientSide
        try Self.checkEnd(of: &client, isChanged: touch == .changed)
    }

    private static func pass(from: borrowing Connection, to: borrowing Connection) throws {
        let bytes = try Loopback.receive(from: from)
        #expect(try to.send(bytes[...]) == bytes.count)
    }

    private static func checkEnd(of client: inout TLSConnection, isChanged: Bool) throws {
        guard isChanged else {
            #expect(try Loopback.receive(1000, from: &client) == [])
            return
        }
        let failure = #expect(throws: TLSFailure.self) {
            try Loopback.receive(1000, from: &client)
        }
        #expect(failure?.description == "recv: decryption failed or bad record mac")
    }
}
