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
    mutating func relation(_ first: Operand) throws(FilterError) -> Item {
        let left = try arithmetic(from: first, 0)
        guard case .sign(let sign) = next.kind,
            let (comparison, isReversed) = Self.relations[sign]
        else { return .number(left) }
        advance()
        let right = try arithmetic(0)
        let part = conditions.relation(left, comparison, right, isReversed: isReversed)
        return .condition(Term(part: part, qualifiers: nil))
    }

    mutating func arithmetic(_ precedenceMin: Int) throws(FilterError) -> Operand {
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
        let (start, index) = (next, position)
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
            throw noNumber(index)
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
