import Collector
import Linux
import Testing

/// Listeners and sources read the same forms.
///
/// They differ only in what a missing port means.
@Suite("Where to listen and whom to dial")
struct HostPortUsersTests {
    static let forms: [(text: String, listener: String?, source: String?)] = [
        ("192.0.2.1:2003", "192.0.2.1:2003", "192.0.2.1:2003"),
        ("[192.0.2.1]:2003", "192.0.2.1:2003", "192.0.2.1:2003"),
        ("[2001:db8::1]:7", "[2001:db8::1]:7", "[2001:db8::1]:7"),
        ("[2001:db8::1]", nil, "[2001:db8::1]:2002"), ("[192.0.2.1]", nil, "192.0.2.1:2002"),
        ("192.0.2.1", nil, "192.0.2.1:2002"), ("node1:7", nil, "node1:7"),
        ("2001:db8::1", nil, nil), ("::1:9464", nil, nil), ("[node1]:7", nil, nil),
        ("[192.0.2.1:80", nil, nil), ("[]:80", nil, nil), ("192.0.2.1:0", nil, nil),
        ("192.0.2.1:65536", nil, nil), ("192.0.2.1:+1", nil, nil), (":80", nil, nil),
        ("", nil, nil),
    ]

    @Test("are read alike", arguments: 0..<forms.count)
    func reads(row: Int) {
        let (text, listener, source) = Self.forms[row]
        #expect(SocketAddress(text)?.description == listener, "\(text)")
        #expect((try? Source(url: "rpcap://\(text)"))?.description == source, "\(text)")
    }

    @Test("is every address where only a port is given")
    func portAlone() {
        #expect(SocketAddress("2003")?.description == "[::]:2003" && SocketAddress("0") == nil)
    }
}
