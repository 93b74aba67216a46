/// Primitives.
extension Parser {
    mutating func primitive() throws(FilterError) -> Term {
        let start = next
        conditions.place = start.range
        guard case .keyword(let keyword) = start.kind else { throw misplaced(position) }
        switch keyword {
        case .header(let header):
            advance()
            return try primitive(of: header, start)
        case .source, .destination, .kind, .protochain, .gateway:
            return try addresses(nil, start)
        case .broadcast, .multicast:
            return Term(part: try group(nil, start))
        default:
            return Term(part: try other(keyword, start))
        }
    }

    /// What begins with the name of a protocol.
    private mutating func primitive(
        of header: Header, _ start: Token
    ) throws(FilterError) -> Term {
        switch next.kind {
        case .keyword(.broadcast), .keyword(.multicast):
            return Term(part: try group(header, start))
        case .keyword(.source), .keyword(.destination), .keyword(.kind), .keyword(.protochain),
            .keyword(.gateway):
            return try addresses(header, start)
        case .dotted, .ipv6, .mac, .number, .name:
            throw missingKind(header)
        case .keyword(.foreign): throw foreign(next)
        default:
            return Term(part: try conditions.matchProtocol(header))
        }
    }

    private mutating func group(_ header: Header?, _ start: Token) throws(FilterError) -> Part {
        conditions.place = start.range.lowerBound..<next.range.upperBound
        let isBroadcast = next.kind == .keyword(.broadcast)
        advance()
        return isBroadcast
            ? try conditions.matchBroadcast(header) : try conditions.matchMulticast(header)
    }

    private func foreign(_ token: Token) -> FilterError {
        FilterError(
            "\(quoted(token)) is for link types other than Ethernet", at: token.range)
    }

    /// The words that say what addresses are, and the addresses.
    private mutating func addresses(
        _ header: Header?, _ start: Token
    ) throws(FilterError) -> Term {
        var qualifiers = Qualifiers(header: header)
        if let direction = takeDirection() {
            (qualifiers.direction, qualifiers.hasDirection) = (direction, true)
        }
        let word = next
        switch word.kind {
        case .keyword(.kind(let kind)):
            advance()
            qualifiers.kind = kind
            if kind == .proto, qualifiers.hasDirection {
                throw FilterError("a protocol has no direction", at: word.range)
            }
        case .keyword(.protochain):
            throw FilterError(
                "protochain is not supported: the kernel runs no filter with loops", at: word.range)
        case .keyword(.gateway):
            throw FilterError(
                "gateway is not supported; use 'ether host' and 'not host' with addresses",
                at: word.range)
        default: break
        }
        if header == .decnet, [.host, .net, nil].contains(qualifiers.kind) {
            throw FilterError(
                "addresses of 'decnet' are not supported; 'decnet' alone is", at: start.range)
        }
        if let error = signBehind(qualifiers) { throw error }
        if qualifiers.kind == .proto, let error = keywordBehindProto(qualifiers) { throw error }
        let (first, index) = (next, position)
        var term = try condition(element(qualifiers), qualifiers)
        guard term.isNames else {
            if case .keyword = first.kind { throw misplaced(index) }
            throw FilterError("an address, a port or a name has to be here", at: first.range)
        }
        term.isNames = false
        term.qualifiers = qualifiers
        return term
    }

    private mutating func takeDirection() -> Direction? {
        let first = next.kind
        guard first == .keyword(.source) || first == .keyword(.destination) else { return nil }
        advance()
        let other = Token.Kind.keyword(first == .keyword(.source) ? .destination : .source)
        if let isAnd = conjunction, nextButOne.kind == other {
            advance()
            advance()
            return isAnd ? .both : .either
        }
        return first == .keyword(.source) ? .source : .destination
    }

    /// What is not about addresses.
    private mutating func other(
        _ keyword: Keyword, _ start: Token
    ) throws(FilterError) -> Part {
        advance()
        switch keyword {
        case .less: return conditions.matchPacketLength(false, try needNumber("less"))
        case .greater: return conditions.matchPacketLength(true, try needNumber("greater"))
        case .byte:
            let index = try needNumber("byte")
            guard case .sign(let sign) = next.kind else {
                throw FilterError(
                    "one of = < > & | has to follow 'byte' and its place", at: next.range)
            }
            advance()
            return try conditions.matchByte(index, sign, try needNumber(sign.rawValue))
        case .vlan: return try conditions.enterVLAN(takeNumber())
        case .mpls: return try conditions.enterMPLS(takeNumber())
        case .pppoed: return try conditions.matchCarried(0x8863)
        case .pppoes: return try conditions.enterPPPoE(takeNumber())
        case .geneve: return try conditions.enterGeneve(takeNumber())
        case .vxlan: return try conditions.enterVXLAN(takeNumber())
        case .llc: return try conditions.matchLLC(takeNameOfLLC())
        case .inbound, .outbound, .ifindex:
            throw FilterError(
                "\(quoted(start)) is not supported: the packets of many pods have no such direction or "
                    + "number; use 'src' and 'dst'", at: start.range)
        case .foreign: throw foreign(start)
        default: throw misplaced(position - 1)
        }
    }

    private mutating func takeNameOfLLC() -> String? {
        switch next.kind {
        case .name(let name):
            advance()
            return name
        case .keyword(.foreign):
            // One word for firewalls is also a frame's.
            advance()
            return "rnr"
        default: return nil
        }
    }
}
