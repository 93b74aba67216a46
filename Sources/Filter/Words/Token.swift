/// A word of a filter's text, with its place.
struct Token {
    /// What kinds there are.
    enum Kind: Equatable {
        /// A word that has a meaning in the language, such as `tcp`.
        case keyword(Keyword)
        /// A sign, or two that belong together, such as `>=`.
        case sign(Sign)
        /// A number, or a constant's name, such as `tcp-syn`.
        case number(UInt32)
        /// Two to four numbers with dots between them.
        case dotted(String)
        case ipv6(String)
        /// The six bytes of an Ethernet address.
        case mac([UInt8])
        /// Any other word, or one that was written behind a backslash.
        case name(String)
        case end
    }

    let kind: Kind
    let range: Range<Int>
}

/// What hints tell of words.
extension Token {
    /// The words that lead to one, and it: `tcp dst port 80`.
    ///
    /// - Parameters:
    ///   - tokens: The words of a text.
    ///   - last: The index of the one.
    ///   - bytes: The text.
    /// - Returns: The part of the text, as a reason can repeat it.
    static func phrase(_ tokens: [Self], upTo last: Int, of bytes: [UInt8]) -> String {
        var first = last
        if last >= 2, tokens[last - 1].kind == .sign(.slash) { first -= 2 }
        while first > 0, last - first < 8 {
            if tokens[first - 1].kind.isQualifier {
                first -= 1
            } else if first > 1, tokens[first].kind.isDirection,
                tokens[first - 2].kind.isDirection
            {
                first -= 2
            } else {
                break
            }
        }
        return FilterError.shown(
            bytes[tokens[first].range.lowerBound..<tokens[last].range.upperBound])
    }
}

extension Token.Kind {
    /// Whether it can be an address, a port or a name.
    var isValue: Bool {
        switch self {
        case .number, .dotted, .ipv6, .mac, .name: true
        case .keyword, .sign, .end: false
        }
    }

    var isDirection: Bool { self == .keyword(.source) || self == .keyword(.destination) }

    /// Whether it says what the address or the port behind it is.
    var isQualifier: Bool {
        switch self {
        case .keyword(.header), .keyword(.kind): true
        default: isDirection
        }
    }
}

/// A sign of the language.
enum Sign: String, CaseIterable {
    case plus = "+"
    case minus = "-"
    case times = "*"
    case slash = "/"
    case percent = "%"
    case colon = ":"
    case openBracket = "["
    case closeBracket = "]"
    case not = "!"
    case less = "<"
    case greater = ">"
    case open = "("
    case close = ")"
    case bitAnd = "&"
    case bitOr = "|"
    case bitXor = "^"
    case equal = "="
    case atLeast = ">="
    case atMost = "<="
    case notEqual = "!="
    case shiftLeft = "<<"
    case shiftRight = ">>"
    case and = "&&"
    case or = "||"
}
