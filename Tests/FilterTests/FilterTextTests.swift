import Addressing
import BPF
import Filter
import FuzzSupport
import Testing

@Suite("The text of a filter in words")
struct FilterTextTests {
    /// Texts, what is wrong, and the part of the text that is meant.
    static let faults: [(text: String, reason: String, place: String)] = [
        ("port", "the filter ends too soon; a port has to follow 'port', as in 'port 80'", ""),
        (
            "port 80 and",
            "the filter ends too soon; a condition has to follow 'and', such as 'tcp' or 'port 80'",
            ""
        ),
        ("tcp port 80 443", "'and' or 'or' is missing before this", "443"),
        ("(tcp", "this parenthesis is not closed", "("),
        ("tcp)", "this parenthesis closes none", ")"),
        ("prot 80", "'prot' is no word of the language; did you mean 'port'?", "prot"),
        ("tpc port 80", "'tpc' is no word of the language; did you mean 'tcp'?", "tpc"),
        ("port 70000", "port 70000 is too large; the largest is 65535", "70000"),
        (
            "port nonesuch", "'nonesuch' is no service that is known here; write the port's number",
            "nonesuch"
        ),
        ("port 80-90", "several ports are written as in 'portrange 80-90'", "80-90"),
        ("icmp port 80", "'icmp' has no ports; tcp, udp and sctp have", "80"),
        ("udp port ssh", "'ssh' is a service of tcp only", "ssh"),
        ("host 10.0.0.256", "'256' is no number from 0 to 255", "10.0.0.256"),
        ("host 10.0.0.0/8", "a mask is for networks: write 'net' before it", "10.0.0.0/8"),
        (
            "net 10.0.0.1/8",
            "the address has bits outside the mask; write 'net 10.0.0.0/8' or 'host 10.0.0.1'",
            "10.0.0.1/8"
        ),
        ("net 10.0.0.0/33", "the prefix 33 is too large; the largest is 32", "33"),
        (
            "net fd00::1/8",
            "the address has bits behind the prefix; write 'net fd00::/8' or 'host fd00::1'",
            "fd00::1/8"
        ),
        (
            "host db.example",
            "'db.example' is no address; names of hosts are looked up only with --resolve, which podwire collect, top and filter have",
            "db.example"
        ),
        (
            "10.0.0.1",
            "an address needs a word before it that says what it is; write 'host 10.0.0.1'",
            "10.0.0.1"
        ),
        (
            "ip 10.0.0.1",
            "a word such as 'host', 'src' or 'port' is missing before this: 'ip host 10.0.0.1'",
            "10.0.0.1"
        ),
        (
            "host 02:00:00:00:00:01",
            "an Ethernet address follows 'ether host', 'ether src' or 'ether dst'",
            "02:00:00:00:00:01"
        ),
        (
            "ether host 10.0.0.1", "an Ethernet address has six bytes, as in 02:00:00:00:00:01",
            "10.0.0.1"
        ),
        ("ether host 1:2:3", "an Ethernet address has six bytes, as in 02:00:00:00:00:01", "1:2:3"),
        (
            "ip proto arp",
            "'arp' cannot be here; a protocol has to follow 'proto', as in 'ip proto 6'",
            "arp"
        ),
        ("vlan 4096", "the VLAN 4096 is too large; the largest is 4095", "4096"),
        ("tcp[0:3] = 1", "the number of bytes can be 1, 2 or 4", "3"),
        ("tcp[0", "']' is missing before this", ""),
        ("tcp[13] & 2", "a comparison has to follow, such as '= 5'", "tcp[13] & 2"),
        ("80", "what is this number? 'host', 'port' or another word has to say so", "80"),
        ("len / 0 = 1", "this divides by zero", "0"),
        ("len << 32 = 1", "a shift can be by 31 bits at most", "32"),
        ("len = 099", "a number that begins with 0 is octal, and has no 8 or 9", "099"),
        ("len = 4294967296", "the number does not fit into 32 bits", "4294967296"),
        (
            "protochain 6", "protochain is not supported: the kernel runs no filter with loops",
            "protochain"
        ),
        (
            "inbound",
            "'inbound' is not supported: the packets of many pods have no such direction or number; use 'src' and 'dst'",
            "inbound"
        ),
        ("wlan type mgt", "'type' is for link types other than Ethernet", "type"),
        ("tcp # 80", "a comment can only be in a file, on a line of its own", "#"),
        ("tcp or é", "the text has a character that is not ASCII", "\u{c3}"),
        (
            "port (80 or tcp)", "behind an address or a port in parentheses only others may follow",
            "tcp"
        ),
        ("mpls and arp", "behind mpls only IPv4 and IPv6 can be told from each other", "arp"),
        ("src proto 6", "a protocol has no direction", "proto"),
        (
            "ip broadcast",
            "'ip broadcast' needs the network's mask, which a capture of many pods has not; 'broadcast' is for Ethernet's",
            "ip broadcast"
        ),
    ]

    /// Faults that many have in common, the reason with what would be right, and the part meant.
    static let hints: [(text: String, reason: String, place: String)] = [
        (
            "ip proto \\mptcp",
            "'mptcp' is no protocol that is known here; write its number, or did you mean '\\tcp'?",
            "\\mptcp"
        ),
        (
            "port htpp",
            "'htpp' is no service that is known here; write the port's number, or did you mean 'http'?",
            "htpp"
        ),
        (
            "ip proto tpc",
            "'tpc' is no protocol that is known here; write its number, or did you mean '\\tcp'?",
            "tpc"
        ),
        (
            "port dns",
            "'dns' is no service that is known here; write the port's number, or did you mean 'domain'?",
            "dns"
        ),
        ("port 80 or prot 443", "'prot' is no word of the language; did you mean 'port'?", "prot"),
        (
            "not src net 10.0.0.0/8 and prto 99",
            "'prto' is no word of the language; did you mean 'port'?", "prto"
        ),
        ("tcp prot 80", "'prot' is no word of the language; did you mean 'port'?", "prot"),
        ("scr host 10.1.2.3", "'scr' is no word of the language; did you mean 'src'?", "scr"),
        ("port 80 adn port 443", "'adn' is no word of the language; did you mean 'and'?", "adn"),
        ("port 80 AND port 443", "'AND' is no word of the language; did you mean 'and'?", "AND"),
        (
            "net 10.1.2.3 mask 255.255.255.0",
            "the address has bits outside the mask; write 'net 10.1.2.0 mask 255.255.255.0' or 'host 10.1.2.3'",
            "10.1.2.3 mask 255.255.255.0"
        ),
        (
            "net 10.1.0.0/255.255.0.0",
            "the length of a prefix has to follow '/'; write 'net 10.1.0.0 mask 255.255.0.0'",
            "255.255.0.0"
        ),
        (
            "net 10.244.0.0 netmask 255.255.0.0",
            "'netmask' is no word of the language; did you mean 'mask'?", "netmask"
        ),
        (
            "10.1.2.0/24",
            "an address needs a word before it that says what it is; write 'net 10.1.2.0/24'",
            "10.1.2.0"
        ),
        (
            "port 80 and 10.1.2.3", "an IPv4 address cannot follow 'port'; write 'host 10.1.2.3'",
            "10.1.2.3"
        ),
        (
            "ip.addr == 10.1.2.3",
            "'ip.addr' is of Wireshark's display filters, another language; write 'host 10.1.2.3'",
            "ip.addr"
        ),
        (
            "host 10.1.2.3 and tcp.port eq 80",
            "'tcp.port' is of Wireshark's display filters, another language; write 'tcp port 80'",
            "tcp.port"
        ),
        (
            "http.request", "'http.request' is of Wireshark's display filters, another language",
            "http.request"
        ),
        ("port=80", "no sign can be behind 'port'; write 'port 80'", "="),
        ("port > 1024", "no sign can be behind 'port'; write 'portrange 1025-65535'", ">"),
        ("tcp == 80", "'==' cannot be here; write 'tcp port 80'", "=="),
        (
            "src or dst host 10.1.2.3:80",
            "':' cannot be here; write 'src or dst host 10.1.2.3 and port 80'", ":"
        ),
        ("portrange 80:90", "':' cannot be here; write 'portrange 80-90'", ":"),
        (
            "tcp dst port 80, 443, 8080",
            "a comma has no meaning in a filter; write 'tcp dst port 80 or 443 or 8080'", ","
        ),
        (
            "tcp[tcpflags] && tcp-syn",
            "a comparison has to follow, such as '= 5'; a single '&' is for bits: 'tcp[tcpflags] & tcp-syn != 0'",
            "tcp[tcpflags]"
        ),
        (
            "tcp-foo",
            "'tcp-foo' is no word of the language; the flags are tcp-fin, tcp-syn, tcp-rst, tcp-push, tcp-ack, tcp-urg, tcp-ece, tcp-cwr",
            "tcp-foo"
        ),
        (
            "tcp[tcpflags] & syn != 0",
            "'syn' is no number that is known here; did you mean 'tcp-syn'?", "syn"
        ),
        ("tcp-syn", "'tcp-syn' is a number; write 'tcp[tcpflags] & tcp-syn != 0'", "tcp-syn"),
        (
            "portrange 80-",
            "a range of ports has two ports and no space, as in 'portrange 8000-8080'", "-"
        ),
        (
            "portrange 80-htpp",
            "'htpp' is no port, and no service that is known here; did you mean 'http'?", "80-htpp"
        ),
        ("port 80..90", "several ports are written as in 'portrange 80-90'", "80..90"),
        (
            "ip proto tcp",
            "'tcp' is a word of the language, and a name only behind a backslash; write 'ip proto \\tcp' or 'ip and tcp'",
            "tcp"
        ),
        (
            "ip6 proto icmp6",
            "'icmp6' is a word of the language, and a name only behind a backslash; write 'ip6 and icmp6'",
            "icmp6"
        ),
        (
            "host \u{201c}foo\u{201d}",
            "this is a curly quote, such as a page has; type ' around the whole filter", "\u{201c}"
        ),
        ("port 80\u{2013}90", "this is a dash, such as a page has; type -", "\u{2013}"),
        ("'tcp port 80'", "quotes have no meaning in a filter; leave them out", "'"),
        (
            "udp src or dst",
            "the filter ends too soon; 'port' with a number has to follow 'dst', as in 'udp src or dst port 80'",
            ""
        ),
        (
            "ether host",
            "the filter ends too soon; an address has to follow 'host', as in 'ether host 02:00:00:00:00:01'",
            ""
        ),
        (
            "and tcp",
            "'and' cannot be here; a filter begins with a condition, such as 'tcp' or 'port 80'",
            "and"
        ),
        ("decnet host 1.2", "addresses of 'decnet' are not supported; 'decnet' alone is", "decnet"),
        ("http", "'http' is no word of the language; write 'port http'", "http"),
        ("dns", "'dns' is no word of the language; write 'port domain'", "dns"),
        (
            "port 80 & port 443",
            "a number has to be here, or bytes of a header such as tcp[13], or len; between conditions write 'and' or '&&'",
            "port"
        ),
    ]

    @Test(
        "is refused with the reason, what would be right, and the place",
        arguments: 0..<(faults.count + hints.count))
    func refused(row: Int) throws {
        let (text, reason, place) = (Self.faults + Self.hints)[row]
        let error = try #require(throws: FilterError.self) { try FilterExpression(text) }
        #expect(error.reason == reason)
        for right in reason.matches(of: /(?:write|as in|bits:|this:) '([^' ]+ [^']+)'/) {
            _ = try FilterExpression(String(right.1)) { _ in [IPAddress(ipv4: 1)] }
        }
        let bytes = Array(text.utf8)
        guard bytes.allSatisfy({ $0 < 0x80 }) else { return }
        #expect(String(decoding: bytes[error.range], as: UTF8.self) == place)
    }

    @Test("shows the place with carets")
    func carets() throws {
        let text = "(tcp or udp) and prot 53"
        let error = try #require(throws: FilterError.self) { try FilterExpression(text) }
        #expect(
            error.text(in: text) == """
                'prot' is no word of the language; did you mean 'port'?
                  (tcp or udp) and prot 53
                                   ^^^^
                """)
    }

    @Test("of several lines shows the line")
    func lines() throws {
        let text = FilterExpression.text(
            ofFile: Array("# ports\ntcp and\r\n  prot 53 or\r\nudp\n# end\n".utf8))
        let error = try #require(throws: FilterError.self) { try FilterExpression(text) }
        #expect(
            error.text(in: text) == """
                line 3: 'prot' is no word of the language; did you mean 'port'?
                    prot 53 or
                    ^^^^
                """)
        #expect(
            error.line(in: text)
                == "line 3: 'prot' is no word of the language; did you mean 'port'? (at 'prot 53 or')"
        )
        let open = "tcp and\nnot\n\n"
        let end = try #require(throws: FilterError.self) { try FilterExpression(open) }
        let reason =
            "line 2: the filter ends too soon; a condition has to follow 'not', such as 'tcp' or 'port 80'"
        #expect(end.text(in: open) == "\(reason)\n  not\n     ^")
        #expect(end.line(in: open) == reason)
    }

    @Test("repeats no more than a part of a long word")
    func longWords() throws {
        for word in ["a", "\\a", "\\\u{7}", "1.", "é"] {
            for head in ["", "host ", "port ", "net ", "ip proto ", "tcp ", "tcp or ", "len = "] {
                let text = head + word + String(repeating: word.suffix(1) + "0", count: 20_000)
                let error = try #require(throws: FilterError.self) { try FilterExpression(text) }
                #expect(error.reason.utf8.count < 300)
                #expect(
                    error.text(in: text).utf8.allSatisfy { (0x20...0x7e).contains($0) || $0 == 10 })
            }
        }
    }

    /// Texts that mean the same.
    static let equals: [(String, String)] = [
        ("", "len >= 0"), ("port domain", "port 53"), ("tcp port ssh", "tcp port 22"),
        ("host 10.1", "net 10.1"), ("net 10", "net 10.0.0.0/8"),
        ("tcp[tcpflags] = 2", "tcp[13] = 2"),
        ("ip proto \\tcp", "ip proto 6"), ("host ::1234and tcp", "host ::1234 and tcp"),
        ("net 1:2:3:4:5:6:1.2.3.4", "host 1:2:3:4:5:6:102:304"),
        ("port 80 or 443", "port 80 or port 443"),
        ("not not tcp", "tcp"), ("! tcp", "not tcp"), ("tcp && port 80", "tcp and port 80"),
        ("net 10.1.0.0 mask 255.255.0.0", "net 10.1.0.0/16"), ("len = 0x10", "len = 020"),
        ("portrange 80-90", "portrange 90-80"), ("vlan", "vlan"), ("ether proto 0x0800", "ip"),
    ]

    @Test("means the same in other words", arguments: 0..<equals.count)
    func same(row: Int) throws {
        let (one, other) = Self.equals[row]
        let programs = (try FilterExpression(one).program, try FilterExpression(other).program)
        var generator = RandomNumbers(3)
        for _ in 0..<500 {
            let frame = RandomFrame.make(with: &generator)
            #expect((programs.0.run(on: frame.wire) > 0) == (programs.1.run(on: frame.wire) > 0))
        }
    }

    @Test("has the addresses of hosts' names, if they are looked up")
    func names() throws {
        let addresses = ["10.1.2.3", "fd00:10::1"].compactMap { IPAddress($0) }
        let named = try FilterExpression("src host db") { $0 == "db" ? addresses : [] }
        let plain = try FilterExpression("src host 10.1.2.3 or src host fd00:10::1")
        #expect(named.program == plain.program)
        #expect(throws: FilterError.self) { try FilterExpression("host other") { _ in [] } }
    }

    @Test("looks into tunnels as at the frames inside", arguments: ["vxlan", "geneve"])
    func tunnels(name: String) throws {
        var generator = RandomNumbers(5)
        let head: [UInt8] =
            [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x46, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]
            + [10, 1, 2, 3, 10, 1, 2, 4, 0, 0, 0, 0, 0x80, 0]
            + (name == "vxlan" ? [0x12, 0xb5, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 7, 0] : [])
            + (name == "geneve"
                ? [0x17, 0xc1, 0, 0, 0, 0, 1, 0, 0x65, 0x58, 0, 0, 7, 0, 1, 2, 3, 4] : [])
        for text in CommonFilters.texts where !text.contains("greater") {
            let (inside, outside) = (
                try FilterExpression(text).program,
                try FilterExpression("\(name) 7 and (\(text))").program
            )
            for _ in 0..<100 {
                // A program reads more of a tunnel's cut frames.
                let frame =
                    RandomFrame.make(with: &generator) + [UInt8](repeating: 0, count: 100)
                #expect(
                    (inside.run(on: frame.wire) > 0)
                        == (outside.run(on: (head + frame).wire) > 0),
                    "\(text): \(frame.hex)")
            }
            let other = try FilterExpression("\(name) 8 and (\(text))").program
            #expect(other.run(on: (head + [UInt8](repeating: 0, count: 80)).wire) == 0)
        }
    }

    /// Texts that are as long or as deep as can be.
    static let extremes = [
        String(repeating: "port 1 or ", count: 6553) + "tcp", String(repeating: "(", count: 65_536),
        String(repeating: "not ", count: 16_000) + "tcp",
        String(repeating: "-", count: 60_000) + "1",
        "port " + (0..<9000).map(String.init).joined(separator: " or "),
        String(repeating: "tcp and udp or ", count: 4369),
        String(repeating: "vlan and ", count: 7000),
        "len = " + String(repeating: "1 + ", count: 16_000) + "1",
        String(repeating: "ip[", count: 20_000), String(repeating: "a", count: 65_536),
        String(repeating: "\u{0}", count: 65_536), String(repeating: "1:", count: 32_768),
        "net " + String(repeating: "1.", count: 32_000),
        String(repeating: "geneve and ", count: 5000), String(repeating: ":", count: 65_536),
        String(repeating: "11111:", count: 10_922), String(repeating: "1::1 ", count: 13_107),
        String(repeating: "1:2:3:4:5:6:1.1.", count: 4096), String(repeating: "a,", count: 32_768),
        "len = " + String(repeating: "(len + ", count: 90) + "1"
            + String(repeating: ")", count: 90),
    ]

    @Test("of any length is compiled or refused", arguments: 0..<extremes.count)
    func extreme(row: Int) {
        let text = Self.extremes[row]
        do throws(FilterError) {
            #expect(try FilterExpression(text).program.instructions.count <= 8192)
        } catch {
            #expect(!error.text(in: text).isEmpty)
        }
    }

    @Test("of 65,537 bytes is refused")
    func tooLong() {
        #expect(throws: FilterError.self) {
            try FilterExpression(String(repeating: " ", count: 65_537))
        }
    }
}
