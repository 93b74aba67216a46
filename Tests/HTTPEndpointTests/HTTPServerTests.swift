import Addressing
import Glibc
import HTTPEndpoint
import Linux
import Synchronization
import Testing
import Time

@Suite("An HTTP server", .serialized)
struct HTTPServerTests {
    /// One that has one page, and where it is.
    private static let address: SocketAddress? = {
        guard let loopback = IPAddress("127.0.0.1"),
            let listener = try? Listener(at: SocketAddress(loopback, port: 0))
        else { return nil }
        let address = listener.local
        let box = TransferBox(listener)
        let place = HTTPServer.Place(
            open: { () throws(SystemError) in try Self.opened(box) }, failed: { Issue.record($0) })
        let server = HTTPServer([place], retrySeconds: 60) { target in
            target.path == "/page" ? Response("what it says\n") : nil
        }
        try? Thread { server.run() }.detach()
        return address
    }()

    /// The listener that a server is given; that of another place is taken later.
    private static func opened(_ box: TransferBox<Listener>) throws(SystemError) -> Listener {
        guard let listener = box.take() else { throw SystemError("open", .badDescriptorState) }
        return listener
    }

    private func connect() throws -> Connection {
        let address = try #require(Self.address)
        return try Connection(to: address, until: .now + .seconds(1), cancel: try Event())
    }

    /// What it says to some bytes until it closes the connection, or within a time.
    private func answer(
        to request: String, endsSending: Bool = false, milliseconds: CInt = 3000
    ) throws -> String {
        let connection = try connect()
        var bytes = Array(request.utf8)[...]
        while !bytes.isEmpty {
            bytes = bytes.dropFirst(try connection.send(bytes))
            _ = try poll([(connection.fileDescriptor, .writable)], milliseconds: 100)
        }
        if endsSending { connection.endSending() }
        return try read(connection, milliseconds: milliseconds)
    }

    private func read(
        _ connection: borrowing Connection, milliseconds: CInt = 3000
    ) throws -> String {
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let ready = try poll(
                [(connection.fileDescriptor, .readable)], milliseconds: milliseconds)
            guard !ready[0].isEmpty, let count = try connection.receive(into: &buffer), count > 0
            else { return text }
            text += String(decoding: buffer[..<count], as: UTF8.self)
        }
    }

    @Test(
        "answers each request by its kind",
        arguments: [
            ("GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200, "what it says\n"),
            ("GET /page?of=it HTTP/1.1\r\nConnection: close\r\n\r\n", 200, "what it says\n"),
            ("GET /page HTTP/1.0\r\n\r\n", 200, "what it says\n"),
            (
                "GET /page HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200,
                "what it says\n"
            ),
            (
                "GET /page/ HTTP/1.0\r\n\r\n", 404,
                "there is no such page; / lists the pages\n"
            ),
            ("HEAD /page HTTP/1.0\r\n\r\n", 200, ""),
            (
                "POST /page HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405,
                "only GET and HEAD are supported\n"
            ),
            ("BREW /page HTTP/1.1\r\n\r\n", 400, nil),
            (
                "GET /page HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 413,
                "a request must not have a body\n"
            ),
            (
                "GET /page HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                413,
                "a request must not have a body\n"
            ),
            (
                "GET /page HTTP/1.1\r\nX: \(String(repeating: "x", count: 9000))\r\n\r\n", 431,
                "the request is too long\n"
            ),
            (
                "GET /\(String(repeating: "x", count: 9000)) HTTP/1.1\r\n\r\n", 431,
                "the request is too long\n"
            ),
            (
                "GET /page HTTP/1.1\r\n" + String(repeating: "X: x\r\n", count: 101) + "\r\n", 431,
                "the request is too long\n"
            ),
            ("nonsense\r\n\r\n", 400, nil), ("\u{16}\u{3}\u{1}\u{2}", 400, nil),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, nil),
        ])
    func kinds(request: String, status: Int, body: String?) throws {
        let answer = try answer(to: request)
        #expect(answer.hasPrefix("HTTP/1.\(request.contains("HTTP/1.0") ? 0 : 1) \(status) "))
        let parts = answer.split(separator: "\r\n\r\n", maxSplits: 1)
        if let body { #expect(parts.dropFirst().joined() == body) }
        #expect(answer.contains("\r\nallow: GET, HEAD\r\n") == (status == 405))
        #expect(answer.contains("\r\nconnection: close\r\n"))
    }

    @Test("answers one request after the other on a connection")
    func keepAlive() throws {
        let connection = try connect()
        for _ in 1...3 {
            _ = try connection.send(Array("GET /page HTTP/1.1\r\nHost: a\r\n\r\n".utf8)[...])
            let text = try read(connection, milliseconds: 300)
            #expect(text.hasSuffix("\r\n\r\nwhat it says\n") && text.hasPrefix("HTTP/1.1 200 "))
        }
    }

    @Test("answers the first of many that come at once, and closes the connection")
    func pipelining() throws {
        let request = "GET /page HTTP/1.1\r\nHost: a\r\n\r\n"
        let text = try answer(to: String(repeating: request, count: 1000))
        #expect(text.components(of: "HTTP/1.1 200 ") == 1)
        #expect(text.hasSuffix("what it says\n"))
    }

    @Test("answers who says that nothing more comes")
    func halfClosed() throws {
        let text = try answer(to: "GET /page HTTP/1.1\r\nHost: a\r\n\r\n", endsSending: true)
        #expect(text.hasSuffix("\r\n\r\nwhat it says\n"))
        #expect(try answer(to: "GET /pa", endsSending: true).hasPrefix("HTTP/1.1 400 "))
    }

    @Test("serves who comes last when there are many who only hold on", .timeLimit(.minutes(10)))
    func crowd() throws {
        var holding: [TransferBox<Connection>] = []
        for _ in 1...100 { holding.append(TransferBox(try connect())) }
        let text = try answer(to: "GET /page HTTP/1.0\r\n\r\n")
        #expect(text.hasSuffix("\r\n\r\nwhat it says\n"))
        guard let first = holding[0].take() else { return }
        #expect(try read(first).hasSuffix("there are too many connections\n"))
    }

    @Test(
        "serves at each of its addresses, and opens one anew that has ended",
        .timeLimit(.minutes(10)))
    func broken() throws {
        let loopback = try #require(IPAddress("127.0.0.1"))
        let first = try Listener(at: SocketAddress(loopback, port: 0))
        let other = try Listener(at: SocketAddress(loopback, port: 0))
        let (address, otherAddress, number) = (first.local, other.local, first.fileDescriptor)
        let (firstBox, otherBox) = (TransferBox(first), TransferBox(other))
        let outcome = Outcome(ended: try Event())
        let places = [
            HTTPServer.Place(
                open: { () throws(SystemError) in
                    if let listener = firstBox.take() { return listener }
                    return try Listener(at: address)
                },
                failed: { failure in
                    outcome.reason.withLock { $0 = "\(failure)" }
                    outcome.ended.raise()
                }),
            HTTPServer.Place(
                open: { () throws(SystemError) in try Self.opened(otherBox) },
                failed: { Issue.record($0) }),
        ]
        let server = HTTPServer(places, retrySeconds: 1) { _ in Response("here\n") }
        try Thread { server.run() }.detach()
        #expect(try page(at: address).hasSuffix("here\n"))
        #expect(try page(at: otherAddress).hasSuffix("here\n"))
        #expect(shutdown(number, CInt(SHUT_RDWR)) == 0)
        _ = try poll([(outcome.ended.fileDescriptor, .readable)], milliseconds: 10_000)
        #expect(outcome.reason.withLock { $0 }.contains("Invalid argument"))
        #expect(try page(at: otherAddress).hasSuffix("here\n"))
        let deadline = MonotonicTime.now + .seconds(10)
        while (try? page(at: address).hasSuffix("here\n")) != true {
            try #require(.now < deadline, "it is not opened anew")
            _ = try poll([], milliseconds: 50)
        }
    }

    @Test(
        "opens soon what another process is about to leave, and says nothing",
        .timeLimit(.minutes(10)))
    func takeover() throws {
        let loopback = try #require(IPAddress("127.0.0.1"))
        let first = try Listener(at: SocketAddress(loopback, port: 0))
        let address = first.local
        var held = TransferBox(first)
        let place = HTTPServer.Place(
            open: { () throws(SystemError) in try Listener(at: address) },
            failed: { Issue.record($0) })
        let gate = HTTPGate()
        // Later than any test waits.
        let server = HTTPServer([place], gate: gate, retrySeconds: 600, takeoverSeconds: 600) { _ in
            Response("here\n")
        }
        try Thread { server.run() }.detach()
        for isOpened in [false, true] {
            if isOpened {
                gate.close()
                held = TransferBox(try Listener(at: address))
                gate.open()
            }
            // For what must not happen: it gives up, and says so.
            _ = try poll([], milliseconds: 500)
            _ = held.take()
            let begin = MonotonicTime.now
            while (try? page(at: address).hasSuffix("here\n")) != true {
                try #require(.now < begin + .seconds(300), "it is not opened soon")
                _ = try poll([], milliseconds: 20)
            }
        }
    }

    @Test(
        "says once that nobody leaves its address, and tries again", .timeLimit(.minutes(10)),
        arguments: [0, 1])
    func taken(takeoverSeconds: Int64) throws {
        let loopback = try #require(IPAddress("127.0.0.1"))
        let taken = try Listener(at: SocketAddress(loopback, port: 0))
        let address = taken.local
        let outcome = Outcome(ended: try Event())
        let place = HTTPServer.Place(
            open: { () throws(SystemError) in try Listener(at: address) },
            failed: { failure in
                outcome.reason.withLock { $0 += "\(failure), \(failure.isAddressTaken); " }
                outcome.ended.raise()
            })
        let server = HTTPServer(
            [place], retrySeconds: 600, takeoverSeconds: takeoverSeconds
        ) { _ in nil }
        let begin = MonotonicTime.now
        try Thread { server.run() }.detach()
        let ready = try poll(
            [(outcome.ended.fileDescriptor, .readable)], milliseconds: 60_000)
        #expect(!ready[0].isEmpty)
        #expect(MonotonicTime.now - begin >= .seconds(takeoverSeconds))
        // For what must not happen: it goes on as fast.
        _ = try poll([], milliseconds: 300)
        let told = outcome.reason.withLock { $0 }
        #expect(told == "bind \(address): Address already in use, true; ")
        withExtendedLifetime(taken) {}
    }

    private func page(at address: SocketAddress) throws -> String {
        let connection = try Connection(to: address, until: .now + .seconds(1), cancel: try Event())
        _ = try connection.send(Array("GET / HTTP/1.0\r\n\r\n".utf8)[...])
        return try read(connection)
    }

    private final class Outcome: Sendable {
        let reason = Mutex("")
        let ended: Event

        init(ended: consuming Event) { self.ended = ended }
    }
}

extension String {
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
