/// Protocols, ports and fragments.
extension Conditions {
    /// The transport protocols that have ports.
    static let withPorts: [UInt8] = [6, 17, 132]

    /// A protocol's name alone, such as `tcp`.
    mutating func matchProtocol(_ header: Header) throws(FilterError) -> Part {
        if let number = header.ipNumber {
            switch header {
            case .icmp, .igmp, .igrp, .vrrp, .carp: return try matchIPv4(carrying: UInt32(number))
            case .icmp6: return try matchIPv6(carrying: UInt32(number))
            default: return try matchIP(carrying: UInt32(number))
            }
        }
        if let number = header.etherType ?? header.servicePoint { return try matchCarried(number) }
        if let number = header.isoNumber { return try matchISO(carrying: number) }
        if let types = header.isisTypes {
            var parts: [Part] = []
            for type in types { parts.append(try matchISIS(type)) }
            return graph.any(parts)
        }
        throw failure("'\(header.name)' says nothing alone; what follows it is missing")
    }

    /// `proto` with a number, behind the name of a protocol or behind nothing.
    mutating func matchProtocol(_ number: UInt32, inside header: Header?) throws(FilterError)
        -> Part
    {
        switch header {
        case nil: return try matchIP(carrying: number)
        case .link: return try matchCarried(number)
        case .ip: return try matchIPv4(carrying: number)
        case .ip6: return try matchIPv6(carrying: number)
        case .iso: return try matchISO(carrying: number)
        case .isis: return try matchISIS(number)
        case .some(let header):
            throw failure(
                "'\(header.name) proto' does not exist; proto may follow ether, ip, ip6, iso, isis "
                    + "or nothing")
        }
    }

    private mutating func matchIP(carrying number: UInt32) throws(FilterError) -> Part {
        let ipv4 = try matchIPv4(carrying: number)
        return graph.or(ipv4, try matchIPv6(carrying: number))
    }

    private mutating func matchIPv4(carrying number: UInt32) throws(FilterError) -> Part {
        try check(number, UInt32(UInt8.max), "the protocol")
        let isIPv4 = try matchCarried(Self.ipv4)
        return graph.and(
            isIPv4, match(.network, 9, .byte, number, Note("the protocol in IPv4?", .decimal)))
    }

    /// A fragment's own header may stand before the protocol's.
    private mutating func matchIPv6(carrying number: UInt32) throws(FilterError) -> Part {
        try check(number, UInt32(UInt8.max), "the protocol")
        let isIPv6 = try matchCarried(Self.ipv6)
        let isNext = match(
            .network, 6, .byte, number, Note("the next header in IPv6?", .decimal))
        let isFragment = match(.network, 6, .byte, 44, "a fragment?")
        let isBehind = match(.network, 40, .byte, number, "the header behind the fragment's?")
        return graph.and(isIPv6, graph.or(isNext, graph.and(isFragment, isBehind)))
    }

    private mutating func matchISO(carrying number: UInt32) throws(FilterError) -> Part {
        try check(number, UInt32(UInt8.max), "the protocol of ISO")
        let isISO = try matchCarried(0xfe)
        return graph.and(
            isISO, match(.networkBehind802, 0, .byte, number, "the protocol of ISO?"))
    }

    private mutating func matchISIS(_ type: UInt32) throws(FilterError) -> Part {
        try check(type, 0x1f, "the type of IS-IS packets")
        let isISIS = try matchISO(carrying: 0x83)
        return graph.and(
            isISIS, match(.networkBehind802, 4, .byte, type, "the type of IS-IS?"))
    }
}

/// A port, or a range of them.
struct Ports: Equatable {
    var first: UInt16
    var last: UInt16
    /// The transport protocols; nil for all that have ports.
    var transport: UInt8?
}

extension Conditions {
    /// Whether a packet has one of some ports.
    ///
    /// Fragments but the first have none, and neither do IPv6 packets with extension headers here.
    mutating func matchPort(_ ports: Ports, _ direction: Direction) throws(FilterError) -> Part {
        let ipv6 = try matchPort(ports, direction, .transport6)
        return graph.or(ipv6, try matchPort(ports, direction, .transport4))
    }

    mutating func matchPort(
        _ ports: Ports, _ direction: Direction, _ anchor: Anchor
    ) throws(FilterError) -> Part {
        let isIPv4 = anchor == .transport4
        let carriesIP = try matchCarried(isIPv4 ? Self.ipv4 : Self.ipv6)
        var ways: [Part] = []
        // Each protocol has tests of its own, so that what is known of it shortens those that follow;
        // in the end equal ones become one.
        for number in ports.transport.map({ [$0] }) ?? Self.withPorts {
            var parts = [
                match(
                    .network, isIPv4 ? 9 : 6, .byte, UInt32(number),
                    Self.transportNotes[number] ?? Note("the transport protocol?", .decimal))
            ]
            if isIPv4 { parts.append(matchFirstFragment()) }
            parts.append(
                try both(direction) { (this: inout Self, isSource) throws(FilterError) in
                    this.matchNumber(ports, anchor, isSource)
                })
            ways.append(graph.all(parts))
        }
        return graph.and(carriesIP, graph.any(ways))
    }

    private static let transportNotes: [UInt8: Note] = [6: "TCP?", 17: "UDP?", 132: "SCTP?"]

    private mutating func matchNumber(_ ports: Ports, _ anchor: Anchor, _ isSource: Bool) -> Part {
        let offset: UInt32 = isSource ? 0 : 2
        let note = Note(isSource ? "the source's port?" : "the destination's port?", .decimal)
        guard ports.first != ports.last else {
            return match(anchor, offset, .half, UInt32(ports.first), note)
        }
        let isAbove = compare(anchor, offset, .half, .atLeast, UInt32(ports.first), note)
        let isBeyond = compare(anchor, offset, .half, .greater, UInt32(ports.last), note)
        return graph.and(isAbove, graph.not(isBeyond))
    }

    /// Whether an IPv4 packet is whole, or the first fragment of its datagram.
    mutating func matchFirstFragment() -> Part {
        let field = load(.network, 6, .half)
        return graph.not(
            graph.test(field, .anyBit, graph.values.constant(0x1fff), "a later fragment?"))
    }
}

/// Which ends of a packet a primitive is about.
enum Direction {
    case source, destination
    /// Either end, also if nothing is said.
    case either
    case both
}

extension Conditions {
    /// Writes a test of the source, of the destination, or of both.
    mutating func both(
        _ direction: Direction,
        _ write: (inout Self, _ isSource: Bool) throws(FilterError) -> Part
    ) throws(FilterError) -> Part {
        switch direction {
        case .source: return try write(&self, true)
        case .destination: return try write(&self, false)
        case .either:
            let source = try write(&self, true)
            return graph.or(source, try write(&self, false))
        case .both:
            let source = try write(&self, true)
            return graph.and(source, try write(&self, false))
        }
    }
}
