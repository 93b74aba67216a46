import Addressing

/// A reader of filters, by the grammar of pcap-filter(7).
///
/// It writes tests as it reads, from left to right, since words such as `vlan` change what those behind
/// them mean.
struct Parser {
    typealias Part = Graph.Part

    let tokens: [Token]
    /// The text, for hints that repeat parts of it.
    let bytes: [UInt8]
    private(set) var position = 0
    private var depth = 0
    var conditions = Conditions()
    /// Finds the addresses of a host's name; nil if names of hosts are refused.
    let resolve: ((String) -> [IPAddress])?

    /// Whether this reads a hint, which needs none itself.
    private(set) var isHint = false

    /// The deepest nesting of parentheses, brackets and negations.
    private static let depthMax = 100

    init(_ tokens: [Token], of bytes: [UInt8], resolve: ((String) -> [IPAddress])?) {
        (self.tokens, self.bytes, self.resolve) = (tokens, bytes, resolve)
    }

    /// Whether a text is a filter: no hint says to write what is refused.
    static func isFilter(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let tokens = try? Lexer.tokens(bytes) else { return false }
        var parser = Self(tokens, of: bytes) { _ in
            [IPAddress(ipv4: 0x0a01_0203), IPAddress(ipv6High: 1 << 63, low: 1)]
        }
        parser.isHint = true
        return (try? parser.filter()) != nil
    }

    /// A hint that says to write a filter; nil if that would be refused.
    func hint(_ text: String, as lead: String = "write") -> String? {
        !isHint && Self.isFilter(text) ? "\(lead) '\(text)'" : nil
    }

    /// Reads the whole text.
    ///
    /// - Returns: The tests; nil for an empty text, which lets everything pass.
    mutating func filter() throws(FilterError) -> Part? {
        if next.kind == .end { return nil }
        let term = try condition(expression(nil), nil)
        guard next.kind == .end else {
            throw next.kind == .sign(.close)
                ? FilterError("this parenthesis closes none", at: next.range)
                : missingConjunction("'and' or 'or'")
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
    var nextButOne: Token { tokens[min(position + 1, tokens.count - 1)] }

    mutating func advance() {
        if position < tokens.count - 1 { position += 1 }
    }

    mutating func take(_ kind: Token.Kind) -> Bool {
        guard next.kind == kind else { return false }
        advance()
        return true
    }

    mutating func takeClose(_ open: Token) throws(FilterError) {
        guard take(.sign(.close)) else {
            throw next.kind == .end
                ? FilterError("this parenthesis is not closed", at: open.range)
                : missingConjunction("'and', 'or' or ')'")
        }
    }

    /// A number, perhaps in parentheses.
    mutating func takeNumber() -> UInt32? {
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

    mutating func needNumber(_ after: String) throws(FilterError) -> UInt32 {
        guard case .number(let number) = next.kind else {
            throw FilterError("a number has to follow '\(after)'", at: next.range)
        }
        conditions.place = next.range
        advance()
        return number
    }

    /// Reads what is nested, unless that is too deep.
    mutating func nested<Result>(
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
    enum Item {
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
    var conjunction: Bool? {
        switch next.kind {
        case .keyword(.and), .sign(.and): true
        case .keyword(.or), .sign(.or): false
        default: nil
        }
    }

    /// A condition; a number becomes one if it stands for an address or a port.
    mutating func condition(
        _ item: Item, _ before: Qualifiers?
    ) throws(FilterError) -> Term {
        switch item {
        case .condition(let term): return term
        case .number(let operand):
            guard let number = operand.literal, let before else {
                throw operand.literal == nil
                    ? missingComparison(operand) : bareNumber(operand.range)
            }
            conditions.place = operand.range
            let part = try part(.number(number), before)
            return Term(part: part, qualifiers: before, isNames: true)
        }
    }

    /// One term, with what negates it.
    mutating func element(_ before: Qualifiers?) throws(FilterError) -> Item {
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
        let (start, index) = (next, position)
        guard let before else { throw unknownWord(index) }
        advance()
        conditions.place = start.range
        let part: Part
        do throws(FilterError) {
            part = try self.part(start.kind, before)
        } catch {
            throw refused(error, index, before)
        }
        return Term(part: part, qualifiers: before, isNames: true)
    }
}
