/// A number in a relation: what it is computed from, and of which packets that can be.
struct Operand {
    var value: Value
    /// The test whether a packet has the headers that are read; nil if every packet has.
    var check: Graph.Part?
    /// The number, if it is written as one and nothing else.
    var literal: UInt32?
    var range: Range<Int>
}

/// Arithmetic and relations.
extension Conditions {
    mutating func number(_ number: UInt32, at range: Range<Int>) -> Operand {
        Operand(
            value: graph.values.constant(number), check: nil, literal: number, range: range)
    }

    mutating func length(at range: Range<Int>) -> Operand {
        Operand(value: graph.values.value(.length), check: nil, literal: nil, range: range)
    }

    mutating func negated(_ operand: Operand, at range: Range<Int>) -> Operand {
        Operand(
            value: graph.values.negated(operand.value), check: operand.check, literal: nil,
            range: range)
    }

    /// Two numbers combined.
    ///
    /// Only the left side's headers are asked for, as libpcap does: in `ip[0] + tcp[12] = 5` nothing asks
    /// for TCP.
    mutating func combined(
        _ operation: Arithmetic, _ left: Operand, _ right: Operand
    ) throws(FilterError) -> Operand {
        let range = left.range.lowerBound..<right.range.upperBound
        if let number = graph.values.constant(right.value) {
            // What two constants are is known here; the kernel refuses such a shift.
            let isSettled = right.literal == nil && graph.values.constant(left.value) != nil
            switch operation {
            case .divide where number == 0, .modulo where number == 0:
                throw FilterError("this divides by zero", at: right.range)
            case .shiftLeft where number > 31 && !isSettled,
                .shiftRight where number > 31 && !isSettled:
                throw FilterError("a shift can be by 31 bits at most", at: right.range)
            default: break
            }
        }
        return Operand(
            value: graph.values.combined(operation, left.value, right.value), check: left.check,
            literal: nil, range: range)
    }

    /// Bytes of a header, such as `tcp[13]`.
    mutating func bytes(
        of header: Header, at index: Operand, _ width: Width
    ) throws(FilterError) -> Operand {
        let (anchor, check) = try self.anchor(header)
        let place = load(anchor, 0, width)
        guard case .packet(_, let offset, let past) = graph.values.source(of: place) else {
            throw failure("'\(header.name)' cannot be read")
        }
        let sum = past.map { graph.values.combined(.add, $0, index.value) } ?? index.value
        let value = graph.values.packet(width, offset, past: sum)
        let checks = [index.check, check].compactMap(\.self)
        return Operand(
            value: value, check: checks.isEmpty ? nil : graph.all(checks), literal: nil,
            range: index.range)
    }

    /// Where a header begins, and the test whether a packet has it.
    private mutating func anchor(_ header: Header) throws(FilterError) -> (Anchor, Part?) {
        switch header {
        case .link: return (.header, nil)
        case .ip, .ip6, .arp, .rarp, .atalk, .decnet, .sca, .lat, .moprc, .mopdl:
            return (.network, try matchProtocol(header))
        case .sctp, .tcp, .udp, .icmp, .igmp, .igrp, .pim, .vrrp, .carp:
            let isIPv4 = try matchCarried(Self.ipv4)
            let isProtocol = match(
                .network, 9, .byte, UInt32(header.ipNumber ?? 0), "the protocol in IPv4?")
            return (.transport4, graph.all([isIPv4, isProtocol, matchFirstFragment()]))
        case .icmp6:
            let isIPv6 = try matchCarried(Self.ipv6)
            return (
                .transport6,
                graph.and(isIPv6, match(.network, 6, .byte, 58, "the next header in IPv6?"))
            )
        case .ah, .esp, .aarp, .iso, .esis, .isis, .clnp, .stp, .ipx, .netbeui, .isisLevel1,
            .isisLevel2, .isisHello, .isisLSP, .isisSNP, .isisCSNP, .isisPSNP:
            throw failure(
                "bytes of '\(header.name)' cannot be read; those of ether, ip, ip6, arp, tcp, udp, "
                    + "sctp, icmp, icmp6 and some others can")
        }
    }

    /// A relation of two numbers.
    mutating func relation(
        _ left: Operand, _ comparison: Comparison, _ right: Operand, isReversed: Bool
    ) -> Part {
        var part = graph.test(left.value, comparison, right.value, "the relation?")
        if isReversed { part = graph.not(part) }
        return graph.all([right.check, left.check].compactMap(\.self) + [part])
    }
}

/// Lengths, single bytes and IEEE 802.2.
extension Conditions {
    /// `less` and `greater`, which both include the number.
    mutating func matchPacketLength(_ isGreater: Bool, _ number: UInt32) -> Part {
        let length = graph.values.value(.length)
        let limit = graph.values.constant(number)
        return isGreater
            ? graph.test(length, .atLeast, limit, Note("the length?", .decimal))
            : graph.not(graph.test(length, .greater, limit, Note("the length?", .decimal)))
    }

    /// `byte`: a byte of the frame, a sign and a number.
    mutating func matchByte(_ index: UInt32, _ sign: Sign, _ number: UInt32) throws(FilterError)
        -> Part
    {
        try check(number, UInt32(UInt8.max), "the byte")
        let byte = load(.header, index, .byte)
        let other = graph.values.constant(number)
        switch sign {
        case .equal: return graph.test(byte, .equal, other, "the byte?")
        case .less: return graph.not(graph.test(byte, .atLeast, other, "the byte?"))
        case .greater: return graph.test(byte, .greater, other, "the byte?")
        case .bitAnd, .bitOr:
            let bits = graph.values.combined(sign == .bitAnd ? .and : .or, byte, other)
            return graph.not(
                graph.test(bits, .equal, graph.values.constant(0), "the byte's bits?"))
        default: throw failure("behind 'byte' and its place comes one of = < > & |")
        }
    }

    /// What may follow `llc`: a kind of frame of IEEE 802.2, or the name of one.
    mutating func matchLLC(_ name: String?) throws(FilterError) -> Part {
        let isFrame802 = matchLength()
        let isBare = match(.payload, 0, .half, 0xffff, "bare IPX?")
        let isLLC = graph.and(isFrame802, graph.not(isBare))
        guard let name else { return isLLC }
        if name.lowercased() == "i" {
            let control = load(.payload, 2, .byte)
            let isSet = graph.test(control, .anyBit, graph.values.constant(1), "no I frame?")
            return graph.and(isLLC, graph.not(isSet))
        }
        guard let (number, mask) = Self.llcTypes[name.lowercased()] else {
            throw failure("behind llc may come i, s, u, or one of \(Self.llcNames)")
        }
        return graph.and(
            isLLC, match(.payload, 2, .byte, number, mask: mask, "the kind of LLC frame?"))
    }

    /// Numbers of the control field, and the bits of it that count.
    private static let llcTypes: [String: (UInt32, UInt32)] = [
        "s": (0x01, 0x03), "u": (0x03, 0x03), "rr": (0x01, 0x0f), "rnr": (0x05, 0x0f),
        "rej": (0x09, 0x0f), "ui": (0x03, 0xef), "ua": (0x63, 0xef), "disc": (0x43, 0xef),
        "dm": (0x0f, 0xef), "sabme": (0x6f, 0xef), "test": (0xe3, 0xef), "xid": (0xaf, 0xef),
        "frmr": (0x87, 0xef),
    ]

    private static let llcNames = "rr, rnr, rej, ui, ua, disc, dm, sabme, test, xid and frmr"
}
