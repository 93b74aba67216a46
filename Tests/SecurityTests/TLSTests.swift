import Addressing
import Glibc
import Linux
import Security
import SecurityFixtures
import Testing

@Suite("A TLS connection")
struct TLSTests {
    private let folder: Folder
    private let server: TLSServer

    init() throws {
        folder = try Certificates.make()
        server = try TLSServer(
            certificate: folder.file("agent.pem"), key: folder.file("agent.key"))
    }

    private func client(trusting name: String = "ca") throws -> TLSClient {
        try TLSClient(trusting: .file(folder.file("\(name).pem")))
    }

    static let hosts = ["agent.test", "AGENT.test.", "127.0.0.1", "::1", nil]

    @Test("comes about with the host that the certificate is for", arguments: hosts)
    func handshake(host: String?) throws {
        var pair = try Pair(server, client(), host: host)
        #expect(pair.failures == [nil, nil])
        let version = pair.client.version
        #expect(version == "TLSv1.3")
        #expect(try pair.client.send([1, 2, 3][...]) == 3)
        #expect(try Loopback.receive(3, from: &pair.server) == [1, 2, 3])
        #expect(try pair.server.send([4][...]) == 1)
        #expect(try Loopback.receive(1, from: &pair.client) == [4])
    }

    @Test(
        "does not come about with another host",
        arguments: ["other.test", "agent", "sub.agent.test", "127.0.0.2", "::2"])
    func wrongHost(host: String) throws {
        let pair = try Pair(server, client(), host: host)
        let text = try #require(pair.failures[1]).description
        #expect(text.hasPrefix("the peer's certificate is not trusted: it is not for \(host) ("))
        #expect(pair.failures[0]?.description.hasPrefix("the peer refused TLS: ") == true)
    }

    @Test("cannot be with a host that is none", arguments: ["", ".", "agent.test\0.evil"])
    func noHost(host: String) throws {
        let client = try client()
        #expect(throws: TLSFailure.host(host)) {
            let ends = try Loopback()
            _ = try client.connect(ends.one, host: host)
        }
    }

    @Test("does not come about with an authority that nobody trusts")
    func wrongAuthority() throws {
        for client in [try client(trusting: "stranger"), try TLSClient(trusting: .system)] {
            let pair = try Pair(server, client, host: "agent.test")
            #expect(
                pair.failures == [
                    .refused(reason: "unknown CA"),
                    .untrusted(
                        reason: """
                            its issuer is not among the trusted authorities (unable to get local \
                            issuer certificate)
                            """),
                ])
        }
    }

    @Test("takes any certificate where none is checked, or the one that is trusted itself")
    func otherTrust() throws {
        let unverified = try TLSClient(trusting: .unverified)
        let trusting = try client(trusting: "agent")
        for client in [unverified, trusting] {
            let pair = try Pair(server, client, host: "127.0.0.1")
            #expect(pair.failures == [nil, nil])
        }
        let named = try Pair(server, unverified, host: "other.test")
        #expect(named.failures == [nil, nil])
    }

    static let plaintexts: [[UInt8]] = [
        // An RPCAP login, and what a browser says.
        [0, 8, 0, 0, 0, 0, 0, 8] + [UInt8](repeating: 0, count: 8),
        Array("GET / HTTP/1.1\r\nHost: agent\r\n\r\n".utf8),
        [UInt8](repeating: 0xff, count: 64),
    ]

    @Test("does not come about with a peer that speaks something else", arguments: plaintexts)
    func plaintext(bytes: [UInt8]) throws {
        for isServer in [true, false] {
            let ends = try Loopback()
            #expect(try ends.other.send(bytes[...]) == bytes.count)
            var connection =
                isServer
                ? try server.accept(ends.one) : try client().connect(ends.one, host: nil)
            #expect(throws: TLSFailure.notTLS(said: bytes)) {
                while let interest = try connection.handshake() {
                    try Loopback.wait(connection.fileDescriptor, interest)
                }
            }
            // As any other failed one it is silent from then on.
            connection.shutDown()
        }
    }

    @Test("says so when the peer goes before it has come about")
    func goneEarly() throws {
        let ends = try Loopback()
        var connection = try server.accept(ends.one)
        #expect(try connection.handshake() == .readable)
        _ = consume ends.other
        try Loopback.wait(connection.fileDescriptor, .readable)
        #expect(throws: TLSFailure.closed) { try connection.handshake() }
    }

    @Test("ends with close_notify, or without", arguments: [true, false])
    func end(isNotified: Bool) throws {
        var pair = try Pair(server, client())
        #expect(try pair.server.send([1, 2][...]) == 2)
        if isNotified { pair.server.shutDown() }
        var client = pair.droppingServer()
        #expect(try Loopback.receive(3, from: &client) == [1, 2])
        // It stays at its end.
        #expect(try Loopback.receive(1, from: &client) == [])
    }

    @Test("that is cut off by a reset is an error")
    func reset() throws {
        var pair = try Pair(server, client())
        // Bytes that nobody has read make the kernel answer the close with a reset.
        #expect(try pair.client.send([1][...]) == 1)
        try Loopback.wait(pair.server.fileDescriptor, .readable)
        var client = pair.droppingServer()
        #expect(throws: TLSFailure.system(SystemError("recv", .connectionReset))) {
            try Loopback.receive(1, from: &client)
        }
    }

    @Test("tells of bytes that poll does not see")
    func pending() throws {
        var pair = try Pair(server, client())
        var arePending = [pair.client.hasBytesToReceive]
        #expect(try pair.server.send([1, 2, 3][...]) == 3)
        #expect(try Loopback.receive(1, from: &pair.client) == [1])
        arePending.append(pair.client.hasBytesToReceive)
        let ready = try poll([(pair.client.fileDescriptor, .readable)], milliseconds: 0)
        #expect(ready == [[]])
        #expect(try Loopback.receive(2, from: &pair.client) == [2, 3])
        arePending.append(pair.client.hasBytesToReceive)
        #expect(arePending == [false, true, false])
        var buffer: [UInt8] = [0]
        #expect(try pair.client.receive(into: &buffer) == nil)
        let interest = pair.client.receiveWaitsFor
        #expect(interest == .readable)
    }

    @Test("of version 1.2 comes about with who knows no other")
    func olderVersion() throws {
        let listener = try Listener(at: SocketAddress(IPAddress(ipv4: 0x7f00_0001), port: 0))
        let arguments = [
            "s_client", "-tls1_2", "-connect", "\(listener.local)", "-verify_return_error",
            "-CAfile",
            folder.file("ca.pem"), "-verify_hostname", "agent.test",
        ]
        let client = try Thread {
            do { try Certificates.openssl(arguments) } catch { Issue.record(error) }
        }
        try Loopback.wait(listener.fileDescriptor, .readable)
        guard let connection = try listener.accept() else {
            throw SystemError("accept", .wouldBlock)
        }
        var server = try server.accept(connection)
        while let interest = try server.handshake() {
            try Loopback.wait(server.fileDescriptor, interest)
        }
        let version = server.version
        #expect(version == "TLSv1.2")
        // It has nothing to say, and goes.
        #expect(try Loopback.receive(1, from: &server) == [])
        client.join()
    }

    @Test("of version 1.1 does not come about")
    func tooOldVersion() throws {
        // The first bytes of a handshake that offers no more than TLS 1.1 (RFC 4346).
        let body: [UInt8] =
            [3, 2] + [UInt8](repeating: 7, count: 32) + [0, 0, 4, 0xc0, 0x14, 0, 0x35, 1, 0]
        let message = [1, 0, 0, UInt8(body.count)] + body
        let hello: [UInt8] = [22, 3, 1, 0, UInt8(message.count)] + message
        let ends = try Loopback()
        #expect(try ends.other.send(hello[...]) == hello.count)
        var connection = try server.accept(ends.one)
        try Loopback.wait(connection.fileDescriptor, .readable)
        let failure = #expect(throws: TLSFailure.self) { try connection.handshake() }
        #expect(failure?.description == "TLS handshake: unsupported protocol")
    }
}
