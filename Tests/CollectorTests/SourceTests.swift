import Collector
import Testing

@Suite("A source")
struct SourceTests {
    static let forms: [(url: String, host: String, port: UInt16, device: String?, text: String)] = [
        ("rpcap://node1", "node1", 2002, nil, "node1:2002"),
        ("RPCAP://node1/", "node1", 2002, nil, "node1:2002"),
        ("rpcap://node1:4000/eth0", "node1", 4000, "eth0", "node1:4000/eth0"),
        ("rpcap://192.0.2.1/any%2Deth", "192.0.2.1", 2002, "any-eth", "192.0.2.1:2002/any-eth"),
        ("rpcap://[fd00::1]", "fd00::1", 2002, nil, "[fd00::1]:2002"),
        ("rpcap://[192.0.2.1]:2002", "192.0.2.1", 2002, nil, "192.0.2.1:2002"),
        ("rpcap://[192.0.2.1]/lo", "192.0.2.1", 2002, "lo", "192.0.2.1:2002/lo"),
        ("rpcap://[fe80::1%eth0]:99/lo", "fe80::1%eth0", 99, "lo", "[fe80::1%eth0]:99/lo"),
        ("rpcap://[fe80::1%25eth0]", "fe80::1%eth0", 2002, nil, "[fe80::1%eth0]:2002"),
        ("rpcap://[fe80::1%25en%2D1]:9", "fe80::1%en-1", 9, nil, "[fe80::1%en-1]:9"),
        ("rpcap://me:a%3ab%40c@host/\\Device", "host", 2002, "\\Device", "host:2002/\\Device"),
        ("rpcap://me:p@ss@host", "host", 2002, nil, "host:2002"),
        ("rpcap://host/a%2Fb/c", "host", 2002, "a/b/c", "host:2002/a/b/c"),
    ]

    @Test("is read from a URL, and shows no password", arguments: 0..<forms.count)
    func reads(row: Int) throws {
        let (url, host, port, device, text) = Self.forms[row]
        let source = try Source(url: url)
        #expect(source.host == host && source.port == port && source.device == device)
        #expect("\(source)" == text)
    }

    @Test("knows whether a password is missing")
    func password() throws {
        for (url, isMissing) in [
            ("rpcap://h", false), ("rpcap://u@h", true), ("rpcap://u:@h", true),
            ("rpcap://u:p@h", false),
        ] {
            var source = try Source(url: url)
            #expect(source.needsPassword == isMissing, "\(url)")
            let before = source
            source.complete(password: [1])
            #expect(!source.needsPassword && (source == before) == !isMissing)
        }
    }

    @Test(
        "refuses what cannot be understood, and does not repeat it",
        arguments: [
            "", "node1", "http://node1", "rpcapx://secret", "rpcap://", "rpcap:///eth0",
            "rpcap://@secret", "rpcap://:secret@host", "rpcap://host:", "rpcap://host:0",
            "rpcap://host:65536", "rpcap://host:secret", "rpcap://fd00::1", "rpcap://[fd00::1",
            "rpcap://[secret]", "rpcap://[192.0.2.1", "rpcap://[fd00::1]2002",
            "rpcap://host/secret%2", "rpcap://u:secret%zz@host", "rpcap://u:secret%+1@host",
            "rpcap://host/secret%ff", "rpcap://host/secret%00", "rpcap://host/a?secret",
            "rpcap://host/a#secret", "rpcap://ho st/secret", "rpcap://h\u{f6}st", "rpcap://h\u{1b}",
            "rpcap://host/" + String(repeating: "a", count: 1025),
        ])
    func refuses(url: String) {
        do {
            let source = try Source(url: url)
            Issue.record("\(url) is taken for \(source)")
        } catch {
            #expect(!error.description.isEmpty && !error.description.contains("secret"))
        }
    }

    @Test("survives any text", arguments: 1...300)
    func garbage(round: Int) {
        let parts = ["rpcap://", "[", "]", "@", ":", "/", "%", "41", "::1", "h", "\u{1F600}", "9"]
        let text = "rpcap://" + (0..<8).map { _ in parts.randomElement() ?? "" }.joined()
        if let source = try? Source(url: text) { #expect(!source.host.isEmpty && source.port > 0) }
    }
}
