/// Words that are none of the language, and those that are meant.
extension Parser {
    /// An address or a name at the beginning, or behind a condition without addresses.
    func unknownWord(_ index: Int) -> FilterError {
        let token = tokens[index]
        guard case .name(let name) = token.kind else {
            return FilterError(
                "an address needs a word before it that says what it is; "
                    + (valuePhrase(index).flatMap { hint($0) } ?? "write 'host' or 'net'"),
                at: token.range)
        }
        if let error = displayFilter(index, isHost: false) { return error }
        let lead = "\(quoted(token)) is no word of the language"
        if let hint = Constants.hint(for: name) {
            return FilterError("\(lead); \(hint)", at: token.range)
        }
        let nearest = Keyword.nearest(to: name).map { "did you mean '\($0)'?" }
        let known = knownName(name).flatMap { self.hint($0) }
        // A service that stands alone is meant for itself; before more words it is another one.
        let isAlone =
            switch tokens[min(index + 1, tokens.count - 1)].kind {
            case .end, .keyword(.and), .keyword(.or), .sign(.and), .sign(.or), .sign(.close): true
            default: false
            }
        let advice = isAlone ? known ?? nearest : nearest ?? known
        return FilterError(lead + (advice.map { "; \($0)" } ?? ""), at: token.range)
    }

    /// What to write for the name of a service or a protocol that stands alone.
    private func knownName(_ name: String) -> String? {
        let words = ["src", "dst", "host", "ip", "ip6"]
        guard Keyword.of(name) == nil, Keyword.nearest(to: name, among: words) == nil else {
            return nil
        }
        if KnownNames.protocolNumber(name) != nil { return "proto \(name)" }
        if KnownNames.service(name) != nil { return "port \(name)" }
        if KnownNames.linkNumber(name) != nil { return "ether proto \(name)" }
        // Only such as stand in the table of other names are sure enough.
        guard let service = KnownNames.otherName(ofService: name) else { return nil }
        return "port \(service)"
    }

    /// An address with the word that it needs; nil for a name.
    private func valuePhrase(_ index: Int) -> String? {
        let token = tokens[index]
        let word = shown(token.range)
        switch token.kind {
        case .mac: return "ether host \(word)"
        case .dotted, .ipv6:
            guard index + 2 < tokens.count, tokens[index + 1].kind == .sign(.slash) else {
                return "host \(word)"
            }
            return "net \(word)/\(shown(tokens[index + 2].range))"
        default: return nil
        }
    }

    /// A value directly behind the name of a protocol.
    func missingKind(_ header: Header) -> FilterError {
        let token = next
        let hasPorts = [.tcp, .udp, .sctp].contains(header)
        let lead = phrase(upTo: position - 1)
        switch token.kind {
        case .name(let name):
            if hasPorts, KnownNames.service(name) != nil {
                return missing("\(lead) port \(name)")
            }
            let words = [
                "port", "host", "net", "src", "dst", "and", "or", "portrange", "proto",
                "broadcast", "multicast",
            ]
            guard let nearest = Keyword.nearest(to: name, among: words) else { break }
            return FilterError(
                "\(quoted(token)) is no word of the language; did you mean '\(nearest)'?",
                at: token.range)
        case .number where hasPorts: return missing("\(lead) port \(shown(token.range))")
        case .dotted, .ipv6: return missing(valuePhrase(position).map { "\(lead) \($0)" })
        default: break
        }
        return missing(nil)
    }

    /// A word that is missing before the next one.
    ///
    /// - Parameter right: The filter with it, if one is likely.
    /// - Returns: The reason.
    private func missing(_ right: String?) -> FilterError {
        FilterError(
            "a word such as 'host', 'src' or 'port' is missing before this"
                + (right.flatMap { hint($0, as: ":") } ?? ""), at: next.range)
    }

    /// A name that is refused as an address or a port; it may be a mistyped word of the language.
    ///
    /// - Parameters:
    ///   - error: The reason for which it is refused.
    ///   - index: The name's index.
    ///   - before: What was said of it.
    /// - Returns: The reason to tell.
    func refused(_ error: FilterError, _ index: Int, _ before: Qualifiers) -> FilterError {
        guard case .name(let name) = tokens[index].kind, error.range == tokens[index].range,
            bytes[tokens[index].range.lowerBound] != UInt8(ascii: "\\")
        else { return error }
        if let error = displayFilter(index, isHost: true) { return error }
        guard index > 0, !tokens[index - 1].kind.isQualifier else { return error }
        let isPort = before.kind == .port || before.kind == .portrange
        if isPort, KnownNames.service(name) != nil { return error }
        guard let nearest = Keyword.nearest(to: name) else { return error }
        return FilterError(
            "\(quoted(tokens[index])) is no word of the language; did you mean '\(nearest)'?",
            at: error.range)
    }

    /// A field of Wireshark's display filters; nil for any other word.
    ///
    /// - Parameters:
    ///   - index: The word's index.
    ///   - isHost: Whether it can be the name of a host.
    /// - Returns: What to write.
    private func displayFilter(_ index: Int, isHost: Bool) -> FilterError? {
        let token = tokens[index]
        guard case .name(let name) = token.kind, let dot = name.firstIndex(of: "."),
            Self.displayedLayers.contains(String(name[..<dot]))
        else { return nil }
        let sign = tokens[min(index + 1, tokens.count - 1)].kind
        let isCompared: Bool =
            switch sign {
            case .sign(let sign): sign.isRelation
            case .name(let word):
                ["eq", "ne", "gt", "lt", "ge", "le", "contains", "matches", "in"].contains(word)
            default: false
            }
        let meaning = Self.displayedFields[name]
        guard isCompared || meaning != nil || !isHost else { return nil }
        let lead = "\(quoted(token)) is of Wireshark's display filters, another language"
        guard let (words, example) = meaning else { return FilterError(lead, at: token.range) }
        let value = tokens[min(index + 2, tokens.count - 1)]
        let isNot = sign == .sign(.notEqual) || sign == .name("ne")
        let right =
            isCompared && value.kind.isValue && !example.isEmpty
            ? shown(value.range) : example
        let phrase = "\(isNot ? "not " : "")\(words)\(right.isEmpty ? "" : " \(right)")"
        return FilterError(lead + (hint(phrase).map { "; \($0)" } ?? ""), at: token.range)
    }

    private static let displayedLayers: Set<String> = [
        "ip", "ipv6", "tcp", "udp", "sctp", "eth", "arp", "icmp", "icmpv6", "frame", "vlan", "dns",
        "http", "http2", "tls", "ssl", "vxlan", "geneve", "mpls", "igmp", "data",
    ]

    /// What fields are in the language of filters, and an example of what they are compared with.
    private static let displayedFields: [String: (words: String, example: String)] = {
        var fields: [String: (words: String, example: String)] = [
            "tcp.flags.syn": ("tcp[tcpflags] & tcp-syn != 0", ""),
            "tcp.flags.ack": ("tcp[tcpflags] & tcp-ack != 0", ""),
            "tcp.flags.fin": ("tcp[tcpflags] & tcp-fin != 0", ""),
            "tcp.flags.reset": ("tcp[tcpflags] & tcp-rst != 0", ""),
            "tcp.flags.push": ("tcp[tcpflags] & tcp-push != 0", ""),
            "vlan.id": ("vlan", "5"), "ip.proto": ("ip proto", "6"), "frame.len": ("len =", "60"),
            "eth.type": ("ether proto", "0x0800"), "icmp.type": ("icmp[icmptype] =", "8"),
            "vxlan.vni": ("vxlan", "5"), "geneve.vni": ("geneve", "5"),
        ]
        for (layer, head, example) in [
            ("ip", "", "10.1.2.3"), ("ipv6", "", "fd00::1"), ("eth", "ether ", "02:00:00:00:00:01"),
        ] {
            fields["\(layer).addr"] = ("\(head)host", example)
            fields["\(layer).host"] = ("\(head)host", example)
            fields["\(layer).src"] = ("\(head)src host", example)
            fields["\(layer).dst"] = ("\(head)dst host", example)
        }
        for layer in ["tcp", "udp", "sctp"] {
            fields["\(layer).port"] = ("\(layer) port", "80")
            fields["\(layer).srcport"] = ("\(layer) src port", "80")
            fields["\(layer).dstport"] = ("\(layer) dst port", "80")
        }
        return fields
    }()
}
