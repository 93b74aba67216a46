import Addressing
import Glibc
import Linux
import Security
import Time

/// Both ends of a connection over TCP from this process to itself.
struct Loopback: ~Copyable {
    let one: Connection
    let other: Connection

    /// The longest wait: enough for any machine, so a test that reaches it has failed.
    static let milliseconds: CInt = 10_000

    init() throws {
        // As podwire does: OpenSSL writes without MSG_NOSIGNAL.
        _ = signal(SIGPIPE, SIG_IGN)
        let listener = try Listener(at: SocketAddress(IPAddress(ipv4: 0x7f00_0001), port: 0))
        let cancel = try Event()
        let one = try Connection(
            to: listener.local, until: .now + .milliseconds(Self.milliseconds), cancel: cancel)
        try Self.wait(listener.fileDescriptor, .readable)
        guard let other = try listener.accept() else {
            throw SystemError("accept", .connectionAbort)
        }
        self.one = one
        self.other = other
    }

    static func wait(_ number: CInt, _ interest: Readiness) throws {
        let ready = try poll([(number, interest)], milliseconds: milliseconds)
        guard !ready[0].isEmpty else { throw NothingHappens() }
    }

    /// Makes a socket take less than a record at a time.
    ///
    /// If the receiver took little instead, the kernel would make it wait for acknowledgements.
    static func shrinkSendBuffer(of fileDescriptor: CInt) throws {
        // Safety: the kernel reads the value during the call.
        var byteCount: CInt = 4096
        try call("setsockopt") {
            unsafe setsockopt(
                fileDescriptor, SOL_SOCKET, SO_SNDBUF, &byteCount,
                socklen_t(MemoryLayout<CInt>.size))
        }
    }

    /// Reads a number of bytes, or up to the end of the stream.
    static func receive(
        _ countMax: Int, from connection: inout TLSConnection
    ) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < countMax {
            var buffer = [UInt8](repeating: 0, count: countMax - bytes.count)
            guard let count = try connection.receive(into: &buffer) else {
                try wait(connection.fileDescriptor, connection.receiveWaitsFor)
                continue
            }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        return bytes
    }

    /// Reads what is there, once there is something.
    static func receive(from connection: borrowing Connection) throws -> [UInt8] {
        try wait(connection.fileDescriptor, .readable)
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        guard let count = try connection.receive(into: &buffer) else { throw NothingHappens() }
        return Array(buffer[..<count])
    }
}

/// An end of a connection for which nothing has come in time.
struct NothingHappens: Error {}

/// Both ends of a TLS connection, and what came of their handshake.
struct Pair: ~Copyable {
    var server: TLSConnection
    var client: TLSConnection
    /// Why the handshake failed, for the server and the client.
    let failures: [TLSFailure?]

    /// Shakes hands over a new connection.
    init(_ server: TLSServer, _ client: TLSClient, host: String? = nil) throws {
        let ends = try Loopback()
        // The server is the one that dials, as a podwire agent does.
        var one = try server.accept(ends.one)
        var other = try client.connect(ends.other, host: host)
        let failures = try Self.shakeHands(&one, &other)
        self.server = one
        self.client = other
        self.failures = failures
    }

    private static func shakeHands(
        _ server: inout TLSConnection, _ client: inout TLSConnection
    ) throws -> [TLSFailure?] {
        var waits: [Readiness?] = [[], []]
        var failures: [TLSFailure?] = [nil, nil]
        while true {
            if waits[0] != nil { (waits[0], failures[0]) = step(&server) }
            if waits[1] != nil { (waits[1], failures[1]) = step(&client) }
            let waiting = zip([server.fileDescriptor, client.fileDescriptor], waits).compactMap {
                number, interest in
                interest.map { (fileDescriptor: number, interest: $0) }
            }
            guard !waiting.isEmpty else { return failures }
            let ready = try poll(waiting, milliseconds: Loopback.milliseconds)
            guard ready.contains(where: { !$0.isEmpty }) else { throw NothingHappens() }
        }
    }

    private static func step(
        _ connection: inout TLSConnection
    ) -> (waits: Readiness?, failure: TLSFailure?) {
        do throws(TLSFailure) { return (try connection.handshake(), nil) } catch {
            return (nil, error)
        }
    }

    /// Closes the server's end without a word, and returns the other end.
    consuming func droppingServer() -> TLSConnection { client }
}
