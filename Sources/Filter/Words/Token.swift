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
