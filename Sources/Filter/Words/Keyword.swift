import Formats

/// A word with a meaning of its own in the language of pcap-filter(7).
enum Keyword: Equatable {
    /// The name of a protocol.
    case header(Header)
    case source, destination
    case kind(AddressKind)
    case mask
    case protochain, gateway
    case less, greater, byte, broadcast, multicast
    case and, or, not
    case length
    case inbound, outbound, ifindex
    case vlan, mpls, pppoed, pppoes, geneve, vxlan, llc
    /// A word for link types other than Ethernet, or for a firewall's log.
    case foreign

    /// What an address may be one of.
    enum AddressKind: String {
        case host, net, port, portrange, proto
    }

    /// The keyword that a word is; nil for any other word.
    static func of(_ word: String) -> Self? { table[word] }

    /// The word of the language that another one is nearest to; nil if none is near.
    static func nearest(to word: String) -> String? {
        let rest = table.keys.filter { table[$0] != .foreign && !common.contains($0) }
        return otherNames[word.lowercased()]
            ?? Spelling.nearest(to: word, among: common + rest.sorted())
    }

    /// The word among some that another one is nearest to; nil if none is near.
    static func nearest(to word: String, among words: [String]) -> String? {
        otherNames[word.lowercased()].flatMap { words.contains($0) ? $0 : nil }
            ?? Spelling.nearest(to: word, among: words)
    }

    /// The words that are used most, in that order.
    private static let common = [
        "port", "host", "tcp", "udp", "net", "src", "dst", "and", "or", "not", "icmp", "ip", "ip6",
        "icmp6", "arp", "portrange", "proto", "vlan", "ether", "vxlan", "geneve", "sctp",
        "broadcast", "multicast", "mask", "len", "less", "greater", "mpls",
    ]

    /// Words that others have for what the language has a word for.
    private static let otherNames = [
        "source": "src", "destination": "dst", "dest": "dst", "address": "host", "addr": "host",
        "network": "net", "subnet": "net", "netmask": "mask", "range": "portrange",
        "ports": "port", "protocol": "proto", "ipv4": "ip", "ipv6": "ip6", "icmpv6": "icmp6",
        "ethernet": "ether", "eth": "ether", "mac": "ether host",
    ]

    private static let table: [String: Self] = {
        var table: [String: Self] = [
            "src": .source, "dst": .destination, "host": .kind(.host), "net": .kind(.net),
            "port": .kind(.port), "portrange": .kind(.portrange), "proto": .kind(.proto),
            "mask": .mask, "protochain": .protochain, "gateway": .gateway, "less": .less,
            "greater": .greater, "byte": .byte, "broadcast": .broadcast,
            "multicast": .multicast, "and": .and, "or": .or, "not": .not, "len": .length,
            "length": .length, "inbound": .inbound, "outbound": .outbound,
            "ifindex": .ifindex, "vlan": .vlan, "mpls": .mpls, "pppoed": .pppoed,
            "pppoes": .pppoes, "geneve": .geneve, "vxlan": .vxlan, "llc": .llc,
        ]
        for header in Header.allCases {
            for name in header.names { table[name] = .header(header) }
        }
        for word in foreignWords { table[word] = .foreign }
        return table
    }()

    /// Words of the language that say nothing about Ethernet.
    private static let foreignWords = [
        "type", "subtype", "direction", "dir", "address1", "addr1", "address2", "addr2",
        "address3", "addr3", "address4", "addr4", "ra", "ta", "radio", "lane", "metac", "bcc",
        "oam", "oamf4", "oamf4ec", "oamf4sc", "sc", "ilmic", "vpi", "vci", "connectmsg",
        "metaconnect", "on", "ifname", "rset", "ruleset", "rnr", "rulenum", "srnr",
        "subrulenum", "reason", "action", "fisu", "lssu", "lsu", "msu", "hfisu", "hlssu", "hmsu",
        "sio", "opc", "dpc", "sls", "hsio", "hopc", "hdpc", "hsls",
    ]
}

/// A protocol whose name is a word of the language.
enum Header: CaseIterable {
    case link
    case ip, ip6, arp, rarp
    case tcp, udp, sctp, icmp, icmp6, igmp, igrp, pim, vrrp, carp, ah, esp
    case atalk, aarp, decnet, lat, sca, moprc, mopdl
    case iso, esis, isis, clnp, stp, ipx, netbeui
    case isisLevel1, isisLevel2, isisHello, isisLSP, isisSNP, isisCSNP, isisPSNP

    /// The words for it.
    var names: [String] {
        switch self {
        case .link: ["ether", "link", "ppp", "slip", "fddi", "tr", "wlan"]
        case .esis: ["esis", "es-is"]
        case .isis: ["isis", "is-is"]
        case .isisLevel1: ["l1"]
        case .isisLevel2: ["l2"]
        case .isisHello: ["iih"]
        case .isisLSP: ["lsp"]
        case .isisSNP: ["snp"]
        case .isisCSNP: ["csnp"]
        case .isisPSNP: ["psnp"]
        default: ["\(self)"]
        }
    }

    /// The word for messages.
    var name: String { names[0] }

    /// The protocol's number in IP headers; nil if it is none that IP carries.
    var ipNumber: UInt8? {
        switch self {
        case .icmp: 1
        case .igmp: 2
        case .tcp: 6
        case .igrp: 9
        case .udp: 17
        case .esp: 50
        case .ah: 51
        case .icmp6: 58
        case .pim: 103
        case .vrrp, .carp: 112
        case .sctp: 132
        default: nil
        }
    }

    /// The EtherType; nil if it is none that Ethernet frames carry by such a number.
    var etherType: UInt32? {
        switch self {
        case .ip: 0x0800
        case .arp: 0x0806
        case .mopdl: 0x6001
        case .moprc: 0x6002
        case .decnet: 0x6003
        case .lat: 0x6004
        case .sca: 0x6007
        case .rarp: 0x8035
        case .atalk: 0x809b
        case .aarp: 0x80f3
        case .ip6: 0x86dd
        default: nil
        }
    }

    /// The service access point of IEEE 802.2; nil if it has none.
    var servicePoint: UInt32? {
        switch self {
        case .stp: 0x42
        case .ipx: 0xe0
        case .netbeui: 0xf0
        case .iso: 0xfe
        default: nil
        }
    }

    /// The network layer protocol identifier of ISO 9577; nil if it has none.
    var isoNumber: UInt32? {
        switch self {
        case .clnp: 0x81
        case .esis: 0x82
        case .isis: 0x83
        default: nil
        }
    }

    /// The types of IS-IS packets that the word stands for, by ISO 10589; nil if it is no such word.
    ///
    /// Hellos between two neighbours, 17, are of both levels.
    var isisTypes: [UInt32]? {
        switch self {
        case .isisLevel1: [15, 17, 18, 24, 26]
        case .isisLevel2: [16, 17, 20, 25, 27]
        case .isisHello: [15, 16, 17]
        case .isisLSP: [18, 20]
        case .isisSNP: [24, 25, 26, 27]
        case .isisCSNP: [24, 25]
        case .isisPSNP: [26, 27]
        default: nil
        }
    }
}
