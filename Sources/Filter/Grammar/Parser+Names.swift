import Addressing

/// Addresses, ports and names, by what stands before them.
extension Parser {
    mutating func part(
        _ kind: Token.Kind, _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        switch kind {
        case .number(let number): return try part(number, qualifiers)
        case .dotted(let text): return try part(dotted: text, qualifiers)
        case .ipv6(let text): return try part(ipv6: text, qualifiers)
        case .mac(let bytes): return try part(mac: bytes, qualifiers)
        case .name(let name): return try part(name, qualifiers)
        case .keyword, .sign, .end: throw conditions.failure("an address or a name has to be here")
        }
    }

    private mutating func part(
        _ number: UInt32, _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        switch qualifiers.kind {
        case .port, .portrange:
            let port = try port(number)
            let transport = try transport(qualifiers)
            return try conditions.matchPort(
                Ports(first: port, last: port, transport: transport), qualifiers.direction)
        case .proto:
            return try conditions.matchProtocol(number, inside: qualifiers.header)
        case .net, .host, nil:
            guard qualifiers.header != .link else {
                throw conditions.failure(
                    "an Ethernet address has six bytes, as in 02:00:00:00:00:01")
            }
            var network = Conditions.IPv4Network(address: number, mask: .max)
            // A network's number alone is its first bytes: "net 10" is 10.0.0.0/8.
            if qualifiers.kind == .net {
                while network.address != 0, network.address >> 24 == 0 {
                    network.address <<= 8
                    network.mask <<= 8
                }
            }
            return try conditions.matchAddress(
                [network], qualifiers.direction, in: qualifiers.header)
        }
    }

    private func port(_ number: UInt32) throws(FilterError) -> UInt16 {
        guard let port = UInt16(exactly: number) else {
            throw conditions.failure("port \(number) is too large; the largest is 65535")
        }
        return port
    }

    /// The transport protocol that stands before `port`; nil if none does.
    private func transport(_ qualifiers: Qualifiers) throws(FilterError) -> UInt8? {
        switch qualifiers.header {
        case nil: return nil
        case .tcp, .udp, .sctp: return qualifiers.header?.ipNumber
        case .some(let header):
            throw conditions.failure("'\(header.name)' has no ports; tcp, udp and sctp have")
        }
    }
}

/// Addresses.
extension Parser {
    /// Whether addresses may follow: they cannot behind `port` or `proto`.
    private func checkAddress(
        _ qualifiers: Qualifiers, _ what: String
    ) throws(FilterError) {
        switch qualifiers.kind {
        case .port, .portrange, .proto:
            throw conditions.failure(
                "\(what) cannot follow '\(qualifiers.kind?.rawValue ?? "")'; "
                    + (hint("host \(shown(conditions.place))") ?? "write 'host' before it"))
        case .host, .net, nil: break
        }
    }

    private mutating func part(
        dotted text: String, _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        try checkAddress(qualifiers, "an IPv4 address")
        var network = try ipv4(text)
        let (start, end) = (conditions.place.lowerBound, conditions.place.upperBound)
        if let mask = try takeMask() {
            let suffix = shown(end..<conditions.place.upperBound)
            conditions.place = start..<conditions.place.upperBound
            guard qualifiers.kind == .net else {
                throw conditions.failure("a mask is for networks: write 'net' before it")
            }
            guard network.address & ~mask == 0 else {
                let masked = IPAddress(ipv4: network.address & mask)
                throw conditions.failure(
                    "the address has bits outside the mask; write 'net \(masked)\(suffix)'"
                        + (network.mask == .max ? " or 'host \(FilterError.shown(text.utf8))'" : "")
                )
            }
            network.mask = mask
        }
        guard qualifiers.header != .link else {
            throw conditions.failure("an Ethernet address has six bytes, as in 02:00:00:00:00:01")
        }
        return try conditions.matchAddress([network], qualifiers.direction, in: qualifiers.header)
    }

    /// Two to four numbers: an address, or the first bytes of all addresses of a network.
    private func ipv4(_ text: String) throws(FilterError) -> Conditions.IPv4Network {
        let parts = text.split(separator: ".")
        var address: UInt32 = 0
        for part in parts {
            guard part.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let byte = UInt8(part)
            else {
                throw conditions.failure("\(FilterError.quoted(part)) is no number from 0 to 255")
            }
            address = address << 8 | UInt32(byte)
        }
        let shift = UInt32(32 - 8 * parts.count)
        return Conditions.IPv4Network(address: address << shift, mask: .max << shift)
    }

    /// What may follow a network: the length of a prefix, or a mask.
    private mutating func takeMask() throws(FilterError) -> UInt32? {
        if take(.sign(.slash)) {
            let word = next
            conditions.place = word.range
            guard case .number(let length) = word.kind else {
                guard case .dotted = word.kind, position > 1 else {
                    throw conditions.failure("the length of a prefix has to follow '/'")
                }
                throw conditions.failure(
                    "the length of a prefix has to follow '/'"
                        + (hint("\(phrase(upTo: position - 2)) mask \(shown(word.range))")
                            .map { "; \($0)" } ?? ""))
            }
            advance()
            try conditions.check(length, 32, "the prefix")
            return length == 0 ? 0 : .max << (32 - length)
        }
        guard take(.keyword(.mask)) else { return nil }
        let word = next
        conditions.place = word.range
        guard case .dotted(let text) = word.kind else {
            throw conditions.failure("a mask such as 255.255.255.0 has to follow 'mask'")
        }
        advance()
        return try ipv4(text).address
    }

    private mutating func part(
        ipv6 text: String, _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        try checkAddress(qualifiers, "an IPv6 address")
        guard let address = IPAddress(text), address.family == .ipv6 else {
            throw conditions.failure("this is no IPv6 address")
        }
        var length: UInt32 = 128
        let start = conditions.place.lowerBound
        if take(.sign(.slash)) {
            let word = next
            conditions.place = word.range
            guard case .number(let number) = word.kind else {
                throw conditions.failure("the length of a prefix has to follow '/'")
            }
            advance()
            try conditions.check(number, 128, "the prefix")
            length = number
            conditions.place = start..<word.range.upperBound
        }
        let network = IPNetwork(address, prefixBitCount: Int(length))
        guard network.address == address else {
            throw conditions.failure(
                "the address has bits behind the prefix; write 'net \(network)' "
                    + "or 'host \(address)'")
        }
        guard length == 128 || qualifiers.kind == .net else {
            throw conditions.failure("a prefix is for networks: write 'net' before it")
        }
        return try conditions.matchAddress([network], qualifiers.direction, in: qualifiers.header)
    }

    private mutating func part(
        mac bytes: [UInt8], _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        guard qualifiers.header == .link, qualifiers.kind == .host || qualifiers.kind == nil else {
            throw conditions.failure(
                "an Ethernet address follows 'ether host', 'ether src' or 'ether dst'")
        }
        return try conditions.matchMAC(bytes, qualifiers.direction)
    }
}

/// Names.
extension Parser {
    private mutating func part(
        _ name: String, _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        switch qualifiers.kind {
        case .proto: return try part(protocolName: name, qualifiers)
        case .port: return try conditions.matchPort(port(name, qualifiers), qualifiers.direction)
        case .portrange:
            return try conditions.matchPort(range(name, qualifiers), qualifiers.direction)
        case .net:
            throw conditions.failure(
                "\(FilterError.quoted(name)) is no network; names of networks are not known, "
                    + "write it as in 'net 10.1.0.0/16'")
        case .host, nil: return try part(hostName: name, qualifiers)
        }
    }

    private mutating func part(
        protocolName name: String, _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        guard let number = number(ofProtocol: name, qualifiers.header) else {
            let nearest =
                switch qualifiers.header {
                case nil, .ip, .ip6: KnownNames.nearestProtocol(to: name)
                case .link: KnownNames.nearestLinkProtocol(to: name)
                default: nil as String?
                }
            let hint = nearest.map { word in
                ", or did you mean '\(Keyword.of(word) == nil ? "" : "\\")\(word)'?"
            }
            throw conditions.failure(
                "\(FilterError.quoted(name)) is no protocol that is known here; write its number"
                    + (hint ?? ""))
        }
        return try conditions.matchProtocol(number, inside: qualifiers.header)
    }

    /// The number of a protocol inside another one; nil if none is known.
    private func number(ofProtocol name: String, _ header: Header?) -> UInt32? {
        switch header {
        case nil, .ip, .ip6: KnownNames.protocolNumber(name).map(UInt32.init)
        case .link: KnownNames.linkNumber(name)
        case .iso:
            [Header.esis, .isis, .clnp].first { $0.names.contains(name) }.flatMap(\.isoNumber)
        default: nil
        }
    }

    private func port(_ name: String, _ qualifiers: Qualifiers) throws(FilterError) -> Ports {
        let transport = try transport(qualifiers)
        guard let service = KnownNames.service(name) else {
            if name.contains("-") || name.contains(".."), name.first?.isNumber == true {
                let range = name.replacing("..", with: "-")
                throw conditions.failure(
                    "several ports are written "
                        + (hint("portrange \(range)", as: "as in") ?? "as in 'portrange 80-90'"))
            }
            let hint = KnownNames.nearestService(to: name).map { ", or did you mean '\($0)'?" }
            throw conditions.failure(
                "\(FilterError.quoted(name)) is no service that is known here; "
                    + "write the port's number" + (hint ?? ""))
        }
        return Ports(
            first: service.port, last: service.port,
            transport: try common(transport, service.transport, name))
    }

    /// The transport protocol that both the qualifier and the service allow.
    private func common(
        _ qualifier: UInt8?, _ service: UInt8?, _ name: String
    ) throws(FilterError) -> UInt8? {
        guard let qualifier, let service, qualifier != service else { return qualifier ?? service }
        throw conditions.failure(
            "\(FilterError.quoted(name)) is a service of \(service == 6 ? "tcp" : "udp") only")
    }

    /// Two ports with a hyphen between them.
    private func range(_ name: String, _ qualifiers: Qualifiers) throws(FilterError) -> Ports {
        let transport = try transport(qualifiers)
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
            throw conditions.failure("a range of ports is written as in 'portrange 8000-8080'")
        }
        let (first, last) = (try service(parts[0]), try service(parts[1]))
        let both = first.transport == last.transport ? first.transport : nil
        return Ports(
            first: min(first.port, last.port), last: max(first.port, last.port),
            transport: try common(transport, both, name))
    }

    private func service(_ text: Substring) throws(FilterError) -> KnownNames.Service {
        if let service = KnownNames.service(String(text)) { return service }
        guard let number = Lexer.value(ArraySlice(text.utf8)) else {
            let hint = KnownNames.nearestService(to: String(text)).map { "; did you mean '\($0)'?" }
            throw conditions.failure(
                "\(FilterError.quoted(text)) is no port, and no service that is known here"
                    + (hint ?? ""))
        }
        return KnownNames.Service(port: try port(number), transport: nil)
    }

    private mutating func part(
        hostName name: String, _ qualifiers: Qualifiers
    ) throws(FilterError) -> Part {
        guard qualifiers.header != .link else {
            throw conditions.failure(
                "names of Ethernet addresses are not known; write it as in 02:00:00:00:00:01")
        }
        guard let resolve else {
            throw conditions.failure(
                "\(FilterError.quoted(name)) is no address; names of hosts are looked up only with "
                    + "--resolve, which podwire collect, top and filter have")
        }
        let addresses = resolve(name).sorted()
        let wanted = addresses.filter { address in
            switch qualifiers.header {
            case .ip6: address.family == .ipv6
            case .ip, .arp, .rarp: address.family == .ipv4
            default: true
            }
        }
        guard !wanted.isEmpty else {
            throw
                conditions.failure("no address of \(FilterError.quoted(name)) was found")
        }
        var parts: [Part] = []
        let ipv4 = wanted.filter { $0.family == .ipv4 }.map { address in
            Conditions.IPv4Network(address: UInt32(truncatingIfNeeded: address.low), mask: .max)
        }
        let ipv6 = wanted.filter { $0.family == .ipv6 }.map { IPNetwork($0, prefixBitCount: 128) }
        if !ipv4.isEmpty {
            parts.append(
                try conditions.matchAddress(ipv4, qualifiers.direction, in: qualifiers.header))
        }
        if !ipv6.isEmpty {
            parts.append(
                try conditions.matchAddress(ipv6, qualifiers.direction, in: qualifiers.header))
        }
        return conditions.graph.any(parts)
    }
}
