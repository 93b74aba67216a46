import Addressing
import Testing

@Suite("A host with a port")
struct HostPortTests {
    static let forms: [(text: String, host: String, port: UInt16?, description: String)] = [
        ("node1", "node1", nil, "node1"), ("node1:2003", "node1", 2003, "node1:2003"),
        ("eda.example:1", "eda.example", 1, "eda.example:1"),
        ("192.0.2.1", "192.0.2.1", nil, "192.0.2.1"),
        ("192.0.2.1:65535", "192.0.2.1", 65_535, "192.0.2.1:65535"),
        ("[192.0.2.1]", "192.0.2.1", nil, "192.0.2.1"),
        ("[192.0.2.1]:2003", "192.0.2.1", 2003, "192.0.2.1:2003"),
        ("fd00::1", "fd00::1", nil, "[fd00::1]"), ("[fd00::1]", "fd00::1", nil, "[fd00::1]"),
        ("[fd00::1]:80", "fd00::1", 80, "[fd00::1]:80"),
        ("::1:9464", "::1:9464", nil, "[::1:9464]"),
        ("fe80::1%eth0", "fe80::1%eth0", nil, "[fe80::1%eth0]"),
        ("[fe80::1%eth0]:99", "fe80::1%eth0", 99, "[fe80::1%eth0]:99"),
        ("2003", "2003", nil, "2003"),
    ]

    @Test("is read in each of its forms", arguments: 0..<forms.count)
    func reads(row: Int) throws {
        let (text, host, port, description) = Self.forms[row]
        let name = try HostPort(text)
        #expect(name.host == host && name.port == port && name.description == description)
        #expect(try HostPort(name.description) == name)
    }

    private static let noPort = HostPort.Failure.noPort(1...65_535)

    static let refused: [(text: String, failure: HostPort.Failure)] = [
        ("", .noHost), (":80", .noHost), ("[]:80", .noAddressInBrackets),
        ("[node1]:80", .noAddressInBrackets), ("[192.0.2.1%eth0]", .noAddressInBrackets),
        ("[::1", .bracketNotClosed), ("[192.0.2.1:80", .bracketNotClosed),
        ("[::1]80", noPort), ("[::1]:", noPort), ("[::1]:0", noPort), ("host:", noPort),
        ("host:65536", noPort), ("host:99999", noPort), ("host:+80", noPort), ("host:http", noPort),
        ("host:0", noPort), ("host:1:2", .tooManyColons), ("fd00::1::2", .tooManyColons),
        ("a b", .strangeHost), ("a/b", .strangeHost), ("h]:80", .strangeHost),
        ("h\u{f6}st", .strangeHost), ("h\u{1b}", .strangeHost),
        (String(repeating: "a", count: 254), .hostTooLong),
    ]

    @Test("says why it is refused", arguments: 0..<refused.count)
    func refuses(row: Int) {
        let (text, failure) = Self.refused[row]
        #expect(throws: failure) { try HostPort(text) }
    }

    @Test("has port 0 only where that is asked for")
    func portZero() throws {
        #expect(try HostPort("h:0", ports: 0...UInt16.max).port == 0)
    }

    @Test("survives any text", arguments: 1...300)
    func garbage(round: Int) {
        let parts = ["[", "]", ":", "::1", "%", "h", "9", "192.0.2.1", "\u{1F600}", " ", "/"]
        let text = (0..<6).map { _ in parts.randomElement() ?? "" }.joined()
        if let name = try? HostPort(text) { #expect(!name.host.isEmpty && name.port != 0) }
    }
}
