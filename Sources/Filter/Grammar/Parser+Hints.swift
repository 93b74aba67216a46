/// What is wrong with words, and what would be right.
extension Parser {
    /// The token's text in quotes.
    func quoted(_ token: Token) -> String { "'\(shown(token.range))'" }

    func shown(_ range: Range<Int>) -> String { FilterError.shown(bytes[range]) }

    /// The words that lead to a token, and its text.
    func phrase(upTo index: Int) -> String { Token.phrase(tokens, upTo: index, of: bytes) }

    private func token(_ index: Int) -> Token { tokens[min(index, tokens.count - 1)] }

    /// A word that cannot be where it is.
    func misplaced(_ index: Int) -> FilterError {
        let token = tokens[index]
        return FilterError(
            token.kind == .end
                ? "the filter ends too soon; \(needed(at: index))"
                : "\(quoted(token)) cannot be here; \(needed(at: index))", at: token.range)
    }

    /// What has to be at a place, by the word before it.
    private func needed(at index: Int) -> String {
        guard index > 0 else {
            return "a filter begins with a condition, such as 'tcp' or 'port 80'"
        }
        let (address, network) = exampleAddresses(before: index)
        let (word, lead) = (shown(tokens[index - 1].range), phrase(upTo: index - 1))
        let what: (what: String, end: String, other: String) =
            switch tokens[index - 1].kind {
            case .keyword(.kind(.port)): ("a port", "80", "port 80")
            case .keyword(.kind(.portrange)):
                ("a range of ports", "8000-8080", "portrange 8000-8080")
            case .keyword(.kind(.host)): ("an address", address, "host 10.1.2.3")
            case .keyword(.kind(.net)): ("a network", network, "net 10.1.0.0/16")
            case .keyword(.kind(.proto)): ("a protocol", "6", "proto 6' or 'proto \\tcp")
            case .keyword(.source), .keyword(.destination):
                hasPorts(before: index)
                    ? ("'port' with a number", "port 80", "src port 80")
                    : ("an address", address, "src 10.1.2.3")
            default: ("a condition", "", "")
            }
        guard !what.end.isEmpty else {
            return "a condition has to follow '\(word)', such as 'tcp' or 'port 80'"
        }
        let example = hint("\(lead) \(what.end)", as: "as in") ?? "as in '\(what.other)'"
        return "\(what.what) has to follow '\(word)', \(example)"
    }

    /// The protocol that stands at most a few words before a word.
    private func header(before index: Int) -> Header? {
        for token in tokens[max(0, index - 5)..<index].reversed() {
            switch token.kind {
            case .keyword(.header(let header)): return header
            case .keyword(.kind), .keyword(.source), .keyword(.destination), .keyword(.or),
                .keyword(.and):
                continue
            default: return nil
            }
        }
        return nil
    }

    private func hasPorts(before index: Int) -> Bool {
        header(before: index).map { [.tcp, .udp, .sctp].contains($0) } ?? false
    }

    /// An address and a network as they can follow a protocol's name.
    private func exampleAddresses(before index: Int) -> (address: String, network: String) {
        switch header(before: index) {
        case .link: ("02:00:00:00:00:01", "10.1.0.0/16")
        case .ip6: ("fd00::1", "fd00::/8")
        default: ("10.1.2.3", "10.1.0.0/16")
        }
    }

    /// A word behind a whole condition that joins nothing to it.
    ///
    /// - Parameter missing: What is missing, if the word is right.
    /// - Returns: What to write.
    func missingConjunction(_ missing: String) -> FilterError {
        let range = next.range
        switch next.kind {
        case .name(let name):
            let words = ["and", "or", "mask"]
            if let nearest = Keyword.nearest(to: name, among: words) {
                return FilterError(
                    "\(quoted(next)) is no word of the language; did you mean '\(nearest)'?",
                    at: range)
            }
        case .sign(let sign):
            if let right = rightForSign(sign) {
                return FilterError("\(quoted(next)) cannot be here; \(right)", at: range)
            }
        default: break
        }
        return FilterError("\(missing) is missing before this", at: range)
    }

    /// What to write for a sign behind a condition.
    private func rightForSign(_ sign: Sign) -> String? {
        guard position > 0 else { return nil }
        let (last, value) = (tokens[position - 1], nextButOne)
        switch (sign, last.kind) {
        case (.bitAnd, _): return "write '&&' or 'and'"
        case (.bitOr, _): return "write '||' or 'or'"
        case (.colon, .number) where value.kind.isNumber && isBehindPort(position - 1),
            (.minus, .number) where value.kind.isNumber && isBehindPort(position - 1):
            return hint("portrange \(shown(last.range))-\(shown(value.range))")
        case (.colon, _) where last.kind.isValue && value.kind.isValue:
            return hint("\(phrase(upTo: position - 1)) and port \(shown(value.range))")
        case (_, .keyword(let keyword)) where sign.isRelation && value.kind.isValue:
            var middle = ""
            if case .header = keyword {
                middle = value.kind.isNumber ? " port" : value.kind.isAddress ? " host" : " proto"
            }
            return hint("\(phrase(upTo: position - 1))\(middle) \(shown(value.range))")
        default: return nil
        }
    }

    /// Whether the word before one is `port` or `portrange`.
    private func isBehindPort(_ index: Int) -> Bool {
        guard index > 0, case .keyword(.kind(let kind)) = tokens[index - 1].kind else {
            return false
        }
        return kind == .port || kind == .portrange
    }

    /// A sign between `port` or such a word and what belongs to it; nil if there is none.
    func signBehind(_ qualifiers: Qualifiers) -> FilterError? {
        let isPort = qualifiers.kind == .port || qualifiers.kind == .portrange
        if isPort,
            let index = [position, position + 1].first(where: {
                token($0).kind == .sign(.minus) && ($0 == position || next.kind.isNumber)
            })
        {
            let (first, last) = (next, token(index + 1))
            let isWhole = index > position && last.kind.isNumber
            let right =
                isWhole
                ? hint("portrange \(shown(first.range))-\(shown(last.range))", as: "as in") : nil
            return FilterError(
                "a range of ports has two ports and no space, "
                    + (right ?? "as in 'portrange 8000-8080'"), at: token(index).range)
        }
        guard case .sign(let sign) = next.kind, sign.isRelation || sign == .colon, position > 0
        else { return nil }
        let value = nextButOne
        let words = phrase(upTo: position - 1)
        var right = "\(words) \(value.kind.isValue ? shown(value.range) : "80")"
        let range = (words.split(separator: " ").dropLast() + ["portrange"]).joined(separator: " ")
        switch (sign, value.kind) {
        case (.notEqual, _): right = "not \(right)"
        case (.greater, .number(let number)) where isPort && number < 65535:
            right = "\(range) \(number + 1)-65535"
        case (.atLeast, .number(let number)) where isPort: right = "\(range) \(number)-65535"
        case (.less, .number(let number)) where isPort && number > 0:
            right = "\(range) 0-\(number - 1)"
        case (.atMost, .number(let number)) where isPort: right = "\(range) 0-\(number)"
        default: break
        }
        guard isPort || value.kind.isValue else { return nil }
        return FilterError(
            "no sign can be behind '\(words)'" + (hint(right).map { "; \($0)" } ?? ""),
            at: next.range)
    }

    /// A word of the language behind `proto`, which needs a backslash there; nil for any other word.
    func keywordBehindProto(_ qualifiers: Qualifiers) -> FilterError? {
        let index = tokens[position...].firstIndex { $0.kind != .sign(.open) } ?? position
        guard case .keyword(let keyword) = tokens[index].kind else { return nil }
        let word = shown(tokens[index].range)
        var alone: String?
        if case .header(let header) = keyword {
            switch qualifiers.header {
            case nil where header.ipNumber != nil: alone = word
            case .ip where header.ipNumber != nil: alone = "ip and \(word)"
            case .ip6 where header.ipNumber != nil: alone = "ip6 and \(word)"
            case .link where header.etherType != nil || header.servicePoint != nil: alone = word
            default: break
            }
        }
        let lead = phrase(upTo: position - 1)
        let right = ["\(lead) \\\(word)", alone].compactMap(\.self).filter {
            !isHint && Self.isFilter($0)
        }
        guard !right.isEmpty else { return nil }
        return FilterError(
            "'\(word)' is a word of the language, and a name only behind a backslash; write "
                + right.map { "'\($0)'" }.joined(separator: " or "), at: tokens[index].range)
    }

    /// A comparison that is missing behind a number.
    func missingComparison(_ operand: Operand) -> FilterError {
        let general = "a comparison has to follow, such as '= 5'"
        guard next.kind == .sign(.and), nextButOne.kind.isNumber else {
            return FilterError(general, at: operand.range)
        }
        return FilterError(
            general
                + (hint(
                    "\(shown(operand.range)) & \(shown(nextButOne.range)) != 0",
                    as: "; a single '&' is for bits:") ?? ""),
            at: operand.range)
    }

    /// A number of which nothing says what it is.
    func bareNumber(_ range: Range<Int>) -> FilterError {
        let word = shown(range)
        let right: String? =
            if word.hasPrefix("tcp-") {
                "tcp[tcpflags] & \(word) != 0"
            } else if word.hasPrefix("icmp-") {
                "icmp[icmptype] = \(word)"
            } else if word.hasPrefix("icmp6-") {
                "icmp6[icmp6type] = \(word)"
            } else {
                nil
            }
        return FilterError(
            right.flatMap { hint($0) }.map { "'\(word)' is a number; \($0)" }
                ?? "what is this number? 'host', 'port' or another word has to say so", at: range)
    }

    /// What is no number, but would have to be one.
    func noNumber(_ index: Int) -> FilterError {
        let token = tokens[index]
        let general = "a number has to be here, or bytes of a header such as tcp[13], or len"
        if case .name(let name) = token.kind, let hint = Constants.hint(for: name) {
            return FilterError(
                "\(quoted(token)) is no number that is known here; \(hint)", at: token.range)
        }
        if index > 0, case .keyword = token.kind {
            let sign = tokens[index - 1].kind
            if sign == .sign(.bitAnd) || sign == .sign(.bitOr) {
                return FilterError(
                    "\(general); between conditions write "
                        + (sign == .sign(.bitAnd) ? "'and' or '&&'" : "'or' or '||'"),
                    at: token.range)
            }
        }
        return FilterError(general, at: token.range)
    }
}

extension Token.Kind {
    var isNumber: Bool {
        if case .number = self { true } else { false }
    }

    var isAddress: Bool {
        switch self {
        case .dotted, .ipv6: true
        default: false
        }
    }
}

extension Sign {
    /// Whether it compares.
    var isRelation: Bool {
        switch self {
        case .equal, .notEqual, .less, .greater, .atLeast, .atMost: true
        default: false
        }
    }
}
