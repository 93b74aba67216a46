import Glibc
import Linux
import Security
import SecurityFixtures
import Testing

@Suite("A TLS server's files")
struct TLSFilesTests {
    private let folder: Folder
    private let certificate: String
    private let key: String

    init() throws {
        folder = try Certificates.make()
        try Certificates.sign("next", by: "stranger", for: "DNS:agent.test", in: folder)
        certificate = try folder.put(text(of: folder.file("agent.pem")), "tls.crt")
        key = try folder.put(text(of: folder.file("agent.key")), "tls.key")
    }

    /// Which of the two authorities has signed the certificate that the server shows now.
    private func issuer(of server: TLSServer) throws -> String? {
        for name in ["ca", "stranger"] {
            let client = try TLSClient(trusting: .file(folder.file("\(name).pem")))
            let pair = try Pair(server, client, host: "agent.test")
            if pair.failures == [nil, nil] { return name }
        }
        return nil
    }

    @Test("are read again when they change, and stay in use while the new ones are wrong")
    func renews() throws {
        let server = try TLSServer(certificate: certificate, key: key)
        #expect(try issuer(of: server) == "ca")
        #expect(server.takeReloadEvents() == [])

        // One after the other: in between, they do not belong together.
        try folder.put(text(of: folder.file("next.pem")), "tls.crt")
        #expect(try issuer(of: server) == "ca")
        #expect(try issuer(of: server) == "ca")
        let notices = server.takeReloadEvents()
        #expect(notices.map(\.isWarning) == [true])
        #expect(notices.first?.text.hasPrefix("\(key): this key is not that of ") == true)
        #expect(notices.first?.text.hasSuffix("; the certificate read before stays in use") == true)
        try folder.put(text(of: folder.file("next.key")), "tls.key")
        #expect(try issuer(of: server) == "stranger")
        #expect(server.takeReloadEvents().map(\.text) == ["\(certificate) was read again"])

        try folder.put("no certificate", "tls.crt")
        #expect(try issuer(of: server) == "stranger")
        #expect(server.takeReloadEvents().map(\.isWarning) == [true])
        unsafe _ = unlink(certificate)
        #expect(try issuer(of: server) == "stranger")
        #expect(server.takeReloadEvents().map(\.isWarning) == [true])
        #expect(try issuer(of: server) == "stranger")
        #expect(server.takeReloadEvents() == [])
    }

    @Test("are seen through the links that Kubernetes changes")
    func links() throws {
        let link = folder.file("link.crt")
        let keyLink = folder.file("link.key")
        unsafe _ = symlink("tls.crt", link)
        unsafe _ = symlink("tls.key", keyLink)
        let server = try TLSServer(certificate: link, key: keyLink)
        #expect(try issuer(of: server) == "ca")
        for (path, target) in [(link, "next.pem"), (keyLink, "next.key")] {
            unsafe _ = unlink(path)
            unsafe _ = symlink(target, path)
        }
        #expect(try issuer(of: server) == "stranger")
    }

    /// Makes a server of these files, and answers what is wrong with which.
    private func failure(_ certificate: String, _ key: String) -> String? {
        #expect(throws: TLSFailure.self) {
            _ = try TLSServer(certificate: certificate, key: key)
        }?.description
    }

    @Test("that cannot be used are named, with what to do")
    func wrong() throws {
        let missing = folder.file("missing")
        let remedy = "No such file or directory: give a file in PEM form that this user may read"
        #expect(failure(missing, key) == "\(missing): \(remedy)")
        #expect(failure(certificate, missing) == "\(missing): \(remedy)")
        #expect(
            failure(folder.path, key)
                == "\(folder.path): this is not a regular file: give a file in PEM form")
        #expect(
            failure(key, key)
                == """
                \(key): there is no certificate in PEM form here, which begins with \
                -----BEGIN CERTIFICATE-----
                """)
        #expect(
            failure(certificate, certificate)
                == """
                \(certificate): there is no private key in PEM form here, which begins with \
                -----BEGIN PRIVATE KEY-----
                """)
        let other = folder.file("next.key")
        #expect(
            failure(certificate, other)
                == """
                \(other): this key is not that of the certificate in \(certificate): give a matching \
                pair, the server's own certificate first
                """)
        let damaged = try folder.put(
            String(text(of: certificate).prefix(300)) + "\n-----END CERTIFICATE-----\n", "damaged")
        #expect(
            failure(damaged, key)?.hasPrefix("\(damaged): this certificate cannot be used: ")
                == true)
    }

    @Test("that have expired are warned of, and turned down by clients")
    func expired() throws {
        let expired = folder.file("expired.pem")
        try Certificates.openssl([
            "x509", "-in", certificate, "-days", "-1", "-signkey", key, "-out", expired,
        ])
        let server = try TLSServer(certificate: expired, key: key)
        let notice = "\(expired): this certificate has expired, so peers will refuse it"
        #expect(server.takeReloadEvents().map(\.text) == [notice])
        let client = try TLSClient(trusting: .file(expired))
        let pair = try Pair(server, client, host: "agent.test")
        #expect(pair.failures[1] == .untrusted(reason: "certificate has expired"))
    }

    @Test("may be of another kind, but not encrypted")
    func encrypted() throws {
        let encrypted = folder.file("encrypted.key")
        try Certificates.openssl([
            "pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", encrypted,
        ])
        #expect(
            failure(certificate, encrypted)
                == """
                \(encrypted): this key is encrypted, and nobody can enter its password here: \
                `openssl pkey` writes it without encryption
                """)
        let rsa = folder.file("rsa.key")
        try Certificates.openssl(["genrsa", "-out", rsa, "2048"])
        #expect(failure(certificate, rsa)?.hasPrefix("\(rsa): this key is not that of ") == true)
    }

    @Test("of a client are named, too")
    func authority() throws {
        let missing = folder.file("missing")
        for (path, fault) in [
            (missing, "No such file or directory: give a file in PEM form that this user may read"),
            (
                key,
                """
                there is no certificate in PEM form here, which begins with \
                -----BEGIN CERTIFICATE-----
                """
            ),
        ] {
            #expect(throws: TLSFailure.file(path, fault: fault)) {
                _ = try TLSClient(trusting: .file(path))
            }
        }
    }
}
