import Addressing
import BPF
import Filter
import FuzzSupport
import Testing

@Suite("The text of a filter in words")
struct FilterTextTests {
    /// Texts, what is wrong, and the part of the text that is meant.
    static let faults: [(text: String, reason: String, place: String)] = [
        ("port", "the filter ends too soon", ""),
        ("port 80 and", "the filter ends too soon", ""),
        ("tcp port 80 443", "'and' or 'or' is missing before this", "443"),
        ("(tcp", "this parenthesis is not closed", "("),
        ("tcp)", "this parenthesis closes none", ")"),
        ("prot 80", "'prot' is no word of the language; did you mean 'port'?", "prot"),
        ("tpc port 80", "'tpc' is no word of the language; did you mean 'tcp'?", "tpc"),
        ("port 70000", "port 70000 is too large; the largest is 65535", "70000"),
        (
            "port nonesuch", "'nonesuch' is no service that is known here; its port's number is",
            "nonesuch"
        ),
        ("port 80-90", "several ports are written as in 'portrange 80-90'", "80-90"),
        ("icmp port 80", "'icmp' has no ports; tcp, udp and sctp have", "80"),
        ("udp port ssh", "'ssh' is a service of tcp only", "ssh"),
        ("host 10.0.0.256", "'256' is no number from 0 to 255", "10.0.0.256"),
        ("host 10.0.0.0/8", "a mask is for networks: write 'net' before it", "10.0.0.0/8"),
        (
            "net 10.0.0.1/8", "the address has bits outside the mask; those have to be 0",
            "10.0.0.1/8"
        ),
        ("net 10.0.0.0/33", "the prefix 33 is too large; the largest is 32", "33"),
        (
            "net fd00::1/8", "the address has bits behind the prefix; those have to be 0",
            "fd00::1/8"
        ),
        (
            "host db.example",
            "'db.example' is no address, and names of hosts are looked up only with --resolve",
            "db.example"
        ),
        (
            "10.0.0.1", "an address needs a word before it that says what it is, such as 'host'",
            "10.0.0.1"
        ),
        (
            "ip 10.0.0.1", "a word such as 'host', 'src' or 'port' is missing before this",
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
        ("ip proto arp", "an address, a port or a name has to be here", "arp"),
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
            "inbound", "the packets of many pods have no such direction or number; use src and dst",
            "inbound"
        ),
        ("wlan type mgt", "this word is for link types other than Ethernet", "type"),
        ("tcp # 80", "this character has no meaning in a filter", "#"),
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

    @Test("is refused with the reason and the place", arguments: 0..<faults.count)
    func refused(row: Int) throws {
        let (text, reason, place) = Self.faults[row]
        let error = try #require(throws: FilterError.self) { try FilterExpression(text) }
        #expect(error.reason == reason)
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

    /// Texts that mean the same.
    static let equals: [(String, String)] = [
        ("", "len >= 0"), ("port domain", "port 53"), ("tcp port ssh", "tcp port 22"),
        ("host 10.1", "net 10.1"), ("net 10", "net 10.0.0.0/8"),
        ("tcp[tcpflags] = 2", "tcp[13] = 2"),
        ("ip proto \\tcp", "ip proto 6"), ("port 80 or 443", "port 80 or port 443"),
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
        String(repeating: "geneve and ", count: 5000),
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
