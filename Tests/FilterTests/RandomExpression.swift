/// Filters by the grammar of pcap-filter(7), about the values that `RandomFrame` has.
struct RandomExpression<Generator: RandomNumberGenerator> {
    private var generator: Generator
    /// How deep the expression is.
    private var depth = 0

    init(_ generator: Generator) { self.generator = generator }

    mutating func next() -> String {
        depth = 0
        // Behind "or", libpcap reads numbers there that no program has written.
        guard chance(30) else { return expression() }
        return pick(["geneve", "geneve 1", "geneve 2"]) + " and (" + expression() + ")"
    }

    private mutating func pick<Element>(_ list: [Element]) -> Element {
        list[Int.random(in: 0..<list.count, using: &generator)]
    }

    private mutating func chance(_ count: Int) -> Bool {
        Int.random(in: 0..<count, using: &generator) == 0
    }

    private mutating func expression() -> String {
        depth += 1
        defer { depth -= 1 }
        var text = term()
        while depth < 4, chance(2) {
            text += pick([" and ", " or ", " && ", " || "]) + (chance(8) ? "not " : "") + term()
        }
        return text
    }

    private mutating func term() -> String {
        switch Int.random(in: 0..<24, using: &generator) {
        case 0 where depth < 4: "(" + expression() + ")"
        case 2: pick(["not ", "!"]) + term()
        case 3...6: host()
        case 7...10: port()
        case 11, 12: name()
        case 13: proto()
        case 14: pick(["", "ether ", "ip ", "ip6 "]) + "multicast"
        case 15: pick(["", "ether "]) + "broadcast"
        case 16: pick(["less ", "greater "]) + pick(["10", "34", "60", "100"])
        case 17: layer()
        case 18: pick(["llc", "llc i", "llc s", "llc u", "llc rr", "llc rnr", "llc ui", "llc xid"])
        // Libpcap 1.10 forgets to load the byte before "&" and "|".
        case 19:
            "byte \(pick([0, 12, 14, 23, 60])) \(pick(["=", "<", ">"])) "
                + "\(pick([0, 1, 6, 69]))"
        default: relation()
        }
    }

    private static var hosts: [String] {
        RandomFrame.hosts.map { word in
            (0..<4).map { String(word >> (24 - 8 * UInt32($0)) & 0xff) }.joined(separator: ".")
        }
    }

    private static var hosts6: [String] { ["fd00:10::1", "fd00:10::2", "ff02::1", "::"] }

    private mutating func host() -> String {
        let direction = pick(["", "src ", "dst ", "src or dst ", "src and dst ", "dst and src "])
        switch Int.random(in: 0..<10, using: &generator) {
        case 0, 1:
            let text =
                pick(["ether ", "link "]) + direction + "host "
                + pick(["02:00:00:00:00:01", "2:0:0:0:0:2", "ff-ff-ff-ff-ff-ff", "3333.0000.0001"])
            return text
        case 2, 3:
            return pick(["", "ip6 "]) + direction + "host " + pick(Self.hosts6)
        case 4:
            return pick(["", "ip6 "]) + direction + "net "
                + pick(["fd00:10::/32", "ff00::/8", "::/0", "fd00::/10", "fd00:10::1/128"])
        case 5, 6:
            return pick(["", "ip ", "arp ", "rarp "]) + direction + "net "
                + pick([
                    "10", "10.1", "10.1.2", "10.0.0.0/8", "10.1.2.0/24", "0.0.0.0/0",
                    "10.1.2.0 mask 255.255.255.0", "192.168.0.0/16", "10.1.2.3", "10.1.2.2/31",
                ])
        case 7 where !direction.isEmpty: return direction + pick(Self.hosts)
        default:
            let list = chance(3) ? " or \(pick(Self.hosts))" : ""
            let hosts =
                chance(6) ? "(\(pick(Self.hosts)) or \(pick(Self.hosts)))" : pick(Self.hosts)
            return pick(["", "", "ip ", "arp ", "rarp "]) + direction + "host " + hosts + list
        }
    }

    private mutating func port() -> String {
        let transport = pick(["", "", "tcp ", "udp ", "sctp "])
        let direction = pick(["", "", "src ", "dst ", "src or dst ", "src and dst "])
        let number = pick(RandomFrame.ports)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0:
            let other = pick(RandomFrame.ports)
            return transport + direction + "portrange \(number)-\(other)"
        case 1: return transport + direction + "port \(number) or \(pick(RandomFrame.ports))"
        case 2:
            return direction + "port (\(number) or \(pick(RandomFrame.ports)) or 0x1f90)"
        default: return transport + direction + "port \(number)"
        }
    }

    private mutating func name() -> String {
        pick([
            "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "igrp",
            "pim", "vrrp", "carp", "ah", "esp", "atalk", "aarp", "decnet", "lat", "sca", "moprc",
            "mopdl", "iso", "esis", "isis", "clnp", "stp", "ipx", "netbeui", "l1", "l2", "iih",
            "lsp", "snp", "csnp", "psnp", "pppoed",
        ])
    }

    private mutating func proto() -> String {
        pick([
            "proto 6", "proto 17", "ip proto 1", "ip6 proto 58", "ip proto \\tcp", "proto \\udp",
            "ip6 proto \\sctp", "ether proto 0x0800", "ether proto \\ip6", "ether proto \\arp",
            "ether proto 0x88cc", "ether proto 0x42", "iso proto 0x83", "isis proto 15",
            "ether proto 1500", "ether proto 6", "ip proto (6 or 17)", "proto 44",
        ]).replacing("ether proto 1500", with: "ether proto 0xaa")
    }

    private mutating func layer() -> String {
        pick([
            "vlan", "vlan 1", "vlan 2", "mpls", "mpls 1", "mpls 0", "pppoes", "pppoes 1",
            "vlan and vlan", "mpls and mpls",
        ])
    }

    private mutating func relation() -> String {
        var left = arithmetic(0)
        // Where all is constant, libpcap's optimizer leaves loads behind that decide nothing.
        if !left.contains("["), !left.contains("len") { left += " + len" }
        return left + " " + pick(["=", "==", "!=", ">", "<", ">=", "<="]) + " " + arithmetic(0)
    }

    private mutating func arithmetic(_ level: Int) -> String {
        switch Int.random(in: 0..<(level > 1 ? 5 : 11), using: &generator) {
        case 0, 1:
            return pick(["1", "2", "6", "0x45", "20", "255", "tcp-syn", "icmp-echo", "0x0f"])
        case 2: return "len"
        case 3, 4:
            let header = pick([
                "ether", "ip", "ip6", "arp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp",
            ])
            let place =
                level < 2 && chance(8) ? arithmetic(level + 1) : pick(["0", "1", "2", "6", "13"])
            return "\(header)[\(place)\(pick(["", "", ":1", ":2", ":4"]))]"
        case 5: return "(" + arithmetic(level + 1) + ")"
        case 6: return "- " + arithmetic(level + 1)
        default:
            let sign = pick(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"])
            var left = arithmetic(level + 1)
            if !left.contains("["), !left.contains("len") { left = "(len + \(left))" }
            return left + " \(sign) " + arithmetic(level + 1)
        }
    }
}
