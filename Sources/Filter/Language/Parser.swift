import Addressing

/// A reader of filters, by the grammar of pcap-filter(7).
///
/// It writes tests as it reads, from left to right, since words such as `vlan` change what those behind
/// them mean.
struct Parser {
    typealias Part = Graph.Part

    private let tokens: [Token]
    private var position = 0
    private var depth = 0
    var conditions = Conditions()
    /// Finds the addresses of a host's name; nil if names of hosts are refused.
    let resolve: ((String) -> [IPAddress])?

    /// The deepest nesting of parentheses, brackets and negations.
    private static let depthMax = 100

    init(_ tokens: [Token], resolve: ((String) -> [IPAddress])?) {
        (self.tokens, self.resolve) = (tokens, resolve)
    }

    /// Reads the whole text.
    ///
    /// - Returns: The tests; nil for an empty text, which lets everything pass.
    mutating func filter() throws(FilterError) -> Part? {
        if next.kind == .end { return nil }
        let term = try condition(expression(nil), nil)
        guard next.kind == .end else {
            throw FilterError(
                next.kind == .sign(.close)
                    ? "this parenthesis closes none" : "'and' or 'or' is missing before this",
                at: next.range)
        }
        return term.part
    }
}

/// What a primitive says of the addresses that follow: `tcp src port` and so on.
struct Qualifiers: Equatable {
    var header: Header?
    var direction = Direction.either
    var kind: Keyword.AddressKind?
    /// Whether a direction was written.
    var hasDirection = false
}

/// Words.
extension Parser {
    var next: Token { tokens[position] }
    private var nextButOne: Token { tokens[min(position + 1, tokens.count - 1)] }

    mutating func advance() {
        if position < tokens.count - 1 { position += 1 }
    }

    mutating func take(_ kind: Token.Kind) -> Bool {
        guard next.kind == kind else { return false }
        advance()
        return true
    }

    private mutating func takeClose(_ open: Token) throws(FilterError) {
        guard take(.sign(.close)) else {
            throw next.kind == .end
                ? FilterError("this parenthesis is not closed", at: open.range)
                : FilterError("'and', 'or' or ')' is missing before this", at: next.range)
        }
    }

    /// A number, perhaps in parentheses.
    private mutating func takeNumber() -> UInt32? {
        let start = position
        var openCount = 0
        while take(.sign(.open)) { openCount += 1 }
        guard case .number(let number) = next.kind else {
            position = start
            return nil
        }
        let range = next.range
        advance()
        for _ in 0..<openCount where !take(.sign(.close)) {
            position = start
            return nil
        }
        conditions.place = range
        return number
    }

    private mutating func needNumber(_ after: String) throws(FilterError) -> UInt32 {
        guard case .number(let number) = next.kind else {
            throw FilterError("a number has to follow '\(after)'", at: next.range)
        }
        conditions.place = next.range
        advance()
        return number
    }

    /// Reads what is nested, unless that is too deep.
    private mutating func nested<Result>(
        _ read: (inout Self) throws(FilterError) -> Result
    ) throws(FilterError) -> Result {
        guard depth < Self.depthMax else {
            throw FilterError(
                "the text is nested more than \(Self.depthMax) levels deep", at: next.range)
        }
        depth += 1
        defer { depth -= 1 }
        return try read(&self)
    }
}

/// Terms and what joins them.
extension Parser {
    /// A part of a filter.
    private enum Item {
        case condition(Term)
        /// A number, which is a term only if it stands for an address or a port.
        case number(Operand)
    }

    /// A condition.
    struct Term {
        var part: Part
        /// What was said of addresses, for those that follow; nil if nothing was.
        var qualifiers: Qualifiers?
        /// Whether it is an address, a port or a name, or several.
        var isNames = false
    }

    /// Terms that `and` and `or` join; both bind alike, from left to right.
    private mutating func expression(_ before: Qualifiers?) throws(FilterError) -> Item {
        let first = try element(before)
        if case .number = first, conjunction == nil { return first }
        var term = try condition(first, before)
        while let isAnd = conjunction {
            advance()
            let start = next
            let other = try condition(element(term.qualifiers), term.qualifiers)
            if term.isNames, depth > 0, !other.isNames {
                throw FilterError(
                    "behind an address or a port in parentheses only others may follow",
                    at: start.range)
            }
            guard !conditions.graph.isTooLong else {
                throw FilterError(
                    "the filter is too long: it has more than \(Graph.nodeCountMax) tests",
                    at: start.range)
            }
            let part =
                isAnd
                ? conditions.graph.and(term.part, other.part)
                : conditions.graph.or(term.part, other.part)
            term = Term(
                part: part, qualifiers: other.qualifiers, isNames: term.isNames && other.isNames)
        }
        return .condition(term)
    }

    /// Whether the next word is `and`; nil if it is neither that nor `or`.
    private var conjunction: Bool? {
        switch next.kind {
        case .keyword(.and), .sign(.and): true
        case .keyword(.or), .sign(.or): false
        default: nil
        }
    }

    /// A condition; a number becomes one if it stands for an address or a port.
    private mutating func condition(
        _ item: Item, _ before: Qualifiers?
    ) throws(FilterError) -> Term {
        switch item {
        case .condition(let term): return term
        case .number(let operand):
            guard let number = operand.literal, let before else {
                throw FilterError(
                    operand.literal == nil
                        ? "a comparison has to follow, such as '= 5'"
                        : "what is this number? 'host', 'port' or another word has to say so",
                    at: operand.range)
            }
            conditions.place = operand.range
            let part = try part(.number(number), before)
            return Term(part: part, qualifiers: before, isNames: true)
        }
    }

    /// One term, with what negates it.
    private mutating func element(_ before: Qualifiers?) throws(FilterError) -> Item {
        let start = next
        switch start.kind {
        case .sign(.not), .keyword(.not):
            advance()
            return try nested { (this) throws(FilterError) in
                var term = try this.condition(this.element(before), before)
                term.part = this.conditions.graph.not(term.part)
                return .condition(term)
            }
        case .sign(.open):
            advance()
            let inner = try nested { (this) throws(FilterError) in try this.expression(before) }
            try takeClose(start)
            switch inner {
            case .number(var operand):
                operand.range = start.range.lowerBound..<tokens[position - 1].range.upperBound
                return try relation(operand)
            case .condition(var term):
                term.qualifiers = before
                return .condition(term)
            }
        case .number, .sign(.minus), .keyword(.length):
            return try relation(arithmetic(0))
        case .keyword(.header) where nextButOne.kind == .sign(.openBracket):
            return try relation(arithmetic(0))
        case .dotted, .ipv6, .mac, .name:
            return .condition(try names(before))
        default:
            return .condition(try primitive())
        }
    }

    /// An address, a port or a name, of which what stands before says what it is.
    private mutating func names(_ before: Qualifiers?) throws(FilterError) -> Term {
        let start = next
        guard let before else { throw unknownWord(start) }
        advance()
        conditions.place = start.range
        let part = try part(start.kind, before)
        return Term(part: part, qualifiers: before, isNames: true)
    }

    private func unknownWord(_ token: Token) -> FilterError {
        guard case .name(let name) = token.kind else {
            return FilterError(
                "an address needs a word before it that says what it is, such as 'host'",
                at: token.range)
        }
        let nearest = Keyword.nearest(to: name).map { "; did you mean '\($0)'?" } ?? ""
        return FilterError("'\(name)' is no word of the language\(nearest)", at: token.range)
    }
}

/// Arithmetic.
extension Parser {
    private static let precedences: [Sign: Int] = [
        .bitOr: 1, .bitAnd: 2, .shiftLeft: 3, .shiftRight: 3, .plus: 4, .minus: 4, .times: 5,
        .slash: 5,
    ]
    private static let operations: [Sign: Arithmetic] = [
        .bitOr: .or, .bitAnd: .and, .bitXor: .xor, .shiftLeft: .shiftLeft,
        .shiftRight: .shiftRight, .plus: .add, .minus: .subtract, .times: .multiply,
        .slash: .divide, .percent: .modulo,
    ]
    private static let relations: [Sign: (Comparison, isReversed: Bool)] = [
        .equal: (.equal, false), .greater: (.greater, false), .atLeast: (.atLeast, false),
        .notEqual: (.equal, true), .atMost: (.greater, true), .less: (.atLeast, true),
    ]

    /// What follows a number: more arithmetic, and a comparison.
    private mutating func relation(_ first: Operand) throws(FilterError) -> Item {
        let left = try arithmetic(from: first, 0)
        guard case .sign(let sign) = next.kind,
            let (comparison, isReversed) = Self.relations[sign]
        else { return .number(left) }
        advance()
        let right = try arithmetic(0)
        let part = conditions.relation(left, comparison, right, isReversed: isReversed)
        return .condition(Term(part: part, qualifiers: nil))
    }

    private mutating func arithmetic(_ precedenceMin: Int) throws(FilterError) -> Operand {
        try arithmetic(from: operand(), precedenceMin)
    }

    /// Operations of at least a precedence.
    ///
    /// `%` and `^` have none in libpcap's grammar: each takes all that follows it as its right side, and
    /// binds before what stands to its left.
    private mutating func arithmetic(
        from first: Operand, _ precedenceMin: Int
    ) throws(FilterError) -> Operand {
        var left = first
        while case .sign(let sign) = next.kind, let operation = Self.operations[sign] {
            let precedence = Self.precedences[sign]
            guard precedence ?? .max >= precedenceMin else { break }
            advance()
            let right = try nested { (this) throws(FilterError) in
                try this.arithmetic(precedence.map { $0 + 1 } ?? 0)
            }
            left = try conditions.combined(operation, left, right)
        }
        return left
    }

    private mutating func operand() throws(FilterError) -> Operand {
        let start = next
        advance()
        switch start.kind {
        case .number(let number): return conditions.number(number, at: start.range)
        case .keyword(.length): return conditions.length(at: start.range)
        case .sign(.minus):
            let operand = try nested { (this) throws(FilterError) in
                try this.arithmetic(Self.precedences.count)
            }
            return conditions.negated(
                operand, at: start.range.lowerBound..<operand.range.upperBound)
        case .sign(.open):
            var operand = try nested { (this) throws(FilterError) in try this.arithmetic(0) }
            try takeClose(start)
            operand.range = start.range.lowerBound..<tokens[position - 1].range.upperBound
            return operand
        case .keyword(.header(let header)) where next.kind == .sign(.openBracket):
            return try bytes(of: header, start)
        default:
            throw FilterError(
                "a number has to be here, or bytes of a header such as tcp[13], or len",
                at: start.range)
        }
    }

    /// What is in the brackets behind a header's name: a place, and perhaps a length.
    private mutating func bytes(
        of header: Header, _ start: Token
    ) throws(FilterError) -> Operand {
        advance()
        let index = try nested { (this) throws(FilterError) in try this.arithmetic(0) }
        var width = Width.byte
        if take(.sign(.colon)) {
            guard case .number(let number) = next.kind, let known = Width(rawValue: number) else {
                throw FilterError("the number of bytes can be 1, 2 or 4", at: next.range)
            }
            advance()
            width = known
        }
        guard take(.sign(.closeBracket)) else {
            throw FilterError("']' is missing before this", at: next.range)
        }
        conditions.place = start.range.lowerBound..<tokens[position - 1].range.upperBound
        var operand = try conditions.bytes(of: header, at: index, width)
        operand.range = conditions.place
        return operand
    }
}

/// Primitives.
extension Parser {
    private mutating func primitive() throws(FilterError) -> Term {
        let start = next
        conditions.place = start.range
        guard case .keyword(let keyword) = start.kind else { throw misplaced(start) }
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

    private func misplaced(_ token: Token) -> FilterError {
        token.kind == .end
            ? FilterError("the filter ends too soon", at: token.range)
            : FilterError("this cannot be here", at: token.range)
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
            throw FilterError(
                "a word such as 'host', 'src' or 'port' is missing before this", at: next.range)
        case .keyword(.foreign): throw foreign(next)
        default:
            return Term(part: try conditions.isProtocol(header))
        }
    }

    private mutating func group(_ header: Header?, _ start: Token) throws(FilterError) -> Part {
        conditions.place = start.range.lowerBound..<next.range.upperBound
        let isBroadcast = next.kind == .keyword(.broadcast)
        advance()
        return isBroadcast
            ? try conditions.isBroadcast(header) : try conditions.isMulticast(header)
    }

    private func foreign(_ token: Token) -> FilterError {
        FilterError("this word is for link types other than Ethernet", at: token.range)
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
        let first = next
        var term = try condition(element(qualifiers), qualifiers)
        guard term.isNames else {
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
        case .less: return conditions.isLength(false, try needNumber("less"))
        case .greater: return conditions.isLength(true, try needNumber("greater"))
        case .byte:
            let index = try needNumber("byte")
            guard case .sign(let sign) = next.kind else { throw misplaced(next) }
            advance()
            return try conditions.isByte(index, sign, try needNumber(sign.rawValue))
        case .vlan: return try conditions.enterVLAN(takeNumber())
        case .mpls: return try conditions.enterMPLS(takeNumber())
        case .pppoed: return try conditions.carries(0x8863)
        case .pppoes: return try conditions.enterPPPoE(takeNumber())
        case .geneve: return try conditions.enterGeneve(takeNumber())
        case .vxlan: return try conditions.enterVXLAN(takeNumber())
        case .llc: return try conditions.isLLC(takeNameOfLLC())
        case .inbound, .outbound, .ifindex:
            throw FilterError(
                "the packets of many pods have no such direction or number; use src and dst",
                at: start.range)
        case .foreign: throw foreign(start)
        default: throw misplaced(start)
        }
    }

    private mutating func takeNameOfLLC() -> String? {
        switch next.kind {
        case .name(let name):
            advance()
            return name
        case .keyword(.foreign):
            // Of the words for firewalls, one is also a frame's.
            advance()
            return "rnr"
        default: return nil
        }
    }
}
