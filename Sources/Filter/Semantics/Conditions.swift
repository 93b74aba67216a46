/// A writer of the tests that primitives stand for.
///
/// What they are follows pcap-filter(7), and where that leaves a question open, what libpcap does: the
/// order of loads decides about short packets.
struct Conditions {
    typealias Part = Graph.Part

    var graph = Graph()
    var layers = Layers()
    /// The words that are being read, for errors.
    var place = 0..<0

    static let ipv4: UInt32 = 0x0800
    static let ipv6: UInt32 = 0x86dd
    /// The largest length of IEEE 802.3; larger numbers are EtherTypes.
    static let lengthMax: UInt32 = 1500

    func failure(_ reason: String) -> FilterError { FilterError(reason, at: place) }

    func check(_ number: UInt32, _ maximum: UInt32, _ what: String) throws(FilterError) {
        guard number <= maximum else {
            throw failure("\(what) \(number) is too large; the largest is \(maximum)")
        }
    }
}

/// Loads and comparisons.
extension Conditions {
    mutating func load(_ anchor: Anchor, _ offset: UInt32, _ width: Width) -> Value {
        let (place, past): (UInt32, Value?) =
            switch anchor {
            case .header: (layers.header.constant, layers.header.variable)
            case .linkType: (layers.linkType.constant, layers.linkType.variable)
            case .payload: (layers.payload.constant, layers.payload.variable)
            case .network:
                (layers.payload.constant &+ layers.network, layers.payload.variable)
            case .networkBehind802:
                (layers.payload.constant &+ layers.networkBehind802, layers.payload.variable)
            case .label:
                (layers.payload.constant &+ layers.network &- 4, layers.payload.variable)
            case .transport4: (layers.payload.constant &+ layers.network, ipv4HeaderEnd())
            case .transport6:
                (layers.payload.constant &+ layers.network &+ 40, layers.payload.variable)
            }
        return graph.values.packet(width, place &+ offset, past: past)
    }

    /// The length of the IPv4 header, with what precedes it if that is computed.
    mutating func ipv4HeaderEnd() -> Value {
        let start = layers.payload.constant &+ layers.network
        guard let past = layers.payload.variable else {
            return graph.values.value(.headerLength(offset: start))
        }
        let first = graph.values.packet(.byte, start, past: past)
        let words = graph.values.combined(.and, first, graph.values.constant(0x0f))
        let length = graph.values.combined(.shiftLeft, words, graph.values.constant(2))
        return graph.values.combined(.add, length, past)
    }

    mutating func match(
        _ anchor: Anchor, _ offset: UInt32, _ width: Width, _ number: UInt32,
        mask: UInt32 = .max, _ note: Note
    ) -> Part {
        let loaded = load(anchor, offset, width)
        let bits = graph.values.constant(mask)
        let value = graph.values.combined(.and, loaded, bits)
        return graph.test(value, .equal, graph.values.constant(number), note)
    }

    mutating func compare(
        _ anchor: Anchor, _ offset: UInt32, _ width: Width, _ comparison: Comparison,
        _ number: UInt32, _ note: Note
    ) -> Part {
        let loaded = load(anchor, offset, width)
        return graph.test(loaded, comparison, graph.values.constant(number), note)
    }

    /// Several bytes, compared from the last ones on.
    mutating func match(_ anchor: Anchor, _ offset: UInt32, _ bytes: [UInt8], _ note: Note)
        -> Part
    {
        var (parts, end) = ([Part](), bytes.count)
        for width in [Width.word, .half, .byte] {
            let count = Int(width.rawValue)
            while end >= count {
                end -= count
                let number = bytes[end..<end + count].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                parts.append(match(anchor, offset + UInt32(end), width, number, note))
            }
        }
        return graph.all(parts)
    }
}

/// What a frame carries.
extension Conditions {
    /// Whether a frame carries a protocol, by its EtherType or service access point.
    mutating func matchCarried(_ number: UInt32) throws(FilterError) -> Part {
        if layers.labelCount > 0 { return try matchBehindLabels(number) }
        switch layers.link {
        case .ppp:
            let number = Self.pppNumbers[number] ?? number
            try check(number, UInt32(UInt16.max), "the protocol of PPP")
            return match(.linkType, 0, .half, number, "the protocol inside PPP?")
        case .ethernet:
            return try matchInEthernet(number)
        }
    }

    private mutating func matchInEthernet(_ number: UInt32) throws(FilterError) -> Part {
        switch number {
        case 0x06, 0xf0, 0xfe:
            let isFrame802 = matchLength()
            return graph.and(
                isFrame802,
                match(.payload, 0, .half, number << 8 | number, "both service access points?"))
        case 0xe0: return matchIPX()
        case 0x809b, 0x80f3:
            let isEtherType = match(.linkType, 0, .half, number, "AppleTalk's EtherType?")
            let isFrame802 = matchLength()
            let organization: UInt32 = number == 0x809b ? 0x08_0007 : 0
            return graph.or(isEtherType, graph.and(isFrame802, matchSNAP(organization, number)))
        case ...Self.lengthMax:
            try check(number, UInt32(UInt8.max), "the service access point")
            let isFrame802 = matchLength()
            return graph.and(
                isFrame802, match(.linkType, 2, .byte, number, "the service access point?"))
        default:
            try check(number, UInt32(UInt16.max), "the EtherType")
            return match(.linkType, 0, .half, number, Self.etherTypeNotes[number] ?? "EtherType?")
        }
    }

    private static let etherTypeNotes: [UInt32: Note] = [
        ipv4: "IPv4?", ipv6: "IPv6?", 0x0806: "ARP?", 0x8035: "RARP?", 0x8100: "VLAN tag?",
        0x88a8: "VLAN tag?", 0x9100: "VLAN tag?", 0x8847: "MPLS?", 0x8863: "PPPoE?",
        0x8864: "PPPoE?",
    ]

    /// Whether the EtherType is a length, as IEEE 802.3 has it.
    mutating func matchLength() -> Part {
        graph.not(compare(.linkType, 0, .half, .greater, Self.lengthMax, "EtherType, no length?"))
    }

    /// IPX in its four kinds of frames: Ethernet II, bare IEEE 802.3, IEEE 802.2 and SNAP.
    private mutating func matchIPX() -> Part {
        let isEtherType = match(.linkType, 0, .half, 0x8137, "IPX's EtherType?")
        let isFrame802 = matchLength()
        let inside = graph.any([
            matchSNAP(0, 0x8137),
            match(.payload, 0, .byte, 0xe0, "IPX's service access point?"),
            match(.payload, 0, .half, 0xffff, "bare IPX?"),
        ])
        return graph.or(isEtherType, graph.and(isFrame802, inside))
    }

    /// Whether a SNAP header names a protocol of an organization.
    private mutating func matchSNAP(_ organization: UInt32, _ number: UInt32) -> Part {
        let bytes: [UInt8] = [
            0xaa, 0xaa, 0x03, UInt8(truncatingIfNeeded: organization >> 16),
            UInt8(truncatingIfNeeded: organization >> 8), UInt8(truncatingIfNeeded: organization),
            UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number),
        ]
        return match(.payload, 0, bytes, "SNAP header?")
    }

    /// Behind labels of MPLS nothing says what follows but the first half byte of it.
    private mutating func matchBehindLabels(_ number: UInt32) throws(FilterError) -> Part {
        guard number == Self.ipv4 || number == Self.ipv6 else {
            throw failure("behind mpls only IPv4 and IPv6 can be told from each other")
        }
        let isLast = matchLastLabel()
        let version: UInt32 = number == Self.ipv4 ? 0x40 : 0x60
        return graph.and(
            isLast, match(.network, 0, .byte, version, mask: 0xf0, "the version of IP?"))
    }

    /// Whether the label is the last one of its stack.
    mutating func matchLastLabel() -> Part {
        let third = load(.label, 2, .byte)
        return graph.test(third, .anyBit, graph.values.constant(1), "the last label?")
    }

    /// The numbers that PPP has for protocols, by EtherType or service access point.
    private static let pppNumbers: [UInt32: UInt32] = [
        0x0800: 0x0021, 0x86dd: 0x0057, 0x6003: 0x0027, 0x809b: 0x0029, 0x0600: 0x0025,
        0xfe: 0x0023, 0x42: 0x0031, 0xe0: 0x002b,
    ]
}
