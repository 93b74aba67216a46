import Addressing

/// A splitter of a filter's text into words, by the rules of pcap-filter(7).
///
/// The longest word that can begin at a place is the one: `10.0.0.1` is an address and no number.
struct Lexer {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    /// The words of a text, with one of kind `end` behind them.
    static func tokens(_ bytes: [UInt8]) throws(FilterError) -> [Token] {
        var lexer = Self(bytes)
        var tokens: [Token] = []
        while true {
            let token = try lexer.next(behind: tokens)
            tokens.append(token)
            if token.kind == .end { return tokens }
        }
    }

    private mutating func next(behind tokens: [Token]) throws(FilterError) -> Token {
        while position < bytes.count, Self.isSpace(bytes[position]) { position += 1 }
        guard position < bytes.count else {
            return Token(kind: .end, range: bytes.count..<bytes.count)
        }
        if let token = try numeric() { return token }
        if let (sign, byteCount) = sign() { return take(byteCount, .sign(sign)) }
        if bytes[position] == UInt8(ascii: "\\") { return try escapedName() }
        let byteCount = wordByteCount
        guard byteCount > 0 else { throw Self.unknown(bytes, position, behind: tokens) }
        let word = text(byteCount)
        if let keyword = Keyword.of(word) { return take(byteCount, .keyword(keyword)) }
        if let value = Constants.value(of: word) { return take(byteCount, .number(value)) }
        return take(byteCount, .name(word))
    }

    private mutating func take(_ byteCount: Int, _ kind: Token.Kind) -> Token {
        let range = position..<position + byteCount
        position += byteCount
        return Token(kind: kind, range: range)
    }

    private func text(_ byteCount: Int) -> String {
        String(decoding: bytes[position..<position + byteCount], as: UTF8.self)
    }
}

/// Signs and words.
extension Lexer {
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (0x09...0x0a).contains(byte) || byte == 0x0d
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        isLetterOrDigit(byte) || byte == UInt8(ascii: ".") || isJoiner(byte)
    }

    /// Whether a byte may be inside a word, but not at its end.
    private static func isJoiner(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
    }

    static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "A")...UInt8(ascii: "Z"):
            true
        default: false
        }
    }

    private func sign() -> (Sign, byteCount: Int)? {
        if position + 1 < bytes.count, let sign = Self.longSigns[text(2)] { return (sign, 2) }
        return Self.shortSigns[bytes[position]].map { ($0, 1) }
    }

    private static let longSigns: [String: Sign] = {
        var signs = ["==": Sign.equal]
        for sign in Sign.allCases where sign.rawValue.utf8.count == 2 {
            signs[sign.rawValue] = sign
        }
        return signs
    }()

    private static let shortSigns: [UInt8: Sign] = {
        var signs: [UInt8: Sign] = [:]
        for sign in Sign.allCases where sign.rawValue.utf8.count == 1 {
            for byte in sign.rawValue.utf8 { signs[byte] = sign }
        }
        return signs
    }()

    /// A word behind a backslash is a name, whatever it means elsewhere.
    private mutating func escapedName() throws(FilterError) -> Token {
        let word = bytes[(position + 1)...].prefix { byte in
            !" !()\n\t".utf8.contains(byte)
        }
        guard !word.isEmpty else {
            throw FilterError(
                "a name has to follow the backslash, as in: ether proto \\arp",
                at: position..<position + 1)
        }
        return take(1 + word.count, .name(String(decoding: word, as: UTF8.self)))
    }

    private var wordByteCount: Int {
        guard Self.isLetterOrDigit(bytes[position]) else { return 0 }
        var word = bytes[position...].prefix(while: Self.isWord)
        while let last = word.last, Self.isJoiner(last) { word.removeLast() }
        return word.count
    }
}

/// Numbers and addresses.
extension Lexer {
    /// The longest text with digits that begins here, if it is no shorter than the word here.
    private mutating func numeric() throws(FilterError) -> Token? {
        let word = wordByteCount
        let (mac, ipv6, malformed) = (macByteCount, ipv6ByteCount, malformedMACByteCount)
        let (number, dotted) = numberByteCounts
        let longest = max(mac, ipv6, malformed, number, dotted)
        guard longest > 0, longest >= word else { return nil }
        if longest == word, Keyword.of(text(word)) != nil { return nil }
        if longest == mac {
            return take(mac, .mac(Self.macBytes(bytes[position..<position + mac])))
        }
        if longest == number { return take(number, .number(try value(number))) }
        if longest == dotted { return take(dotted, .dotted(text(dotted))) }
        if longest == ipv6 { return take(ipv6, .ipv6(text(ipv6))) }
        throw FilterError(
            "an Ethernet address has six bytes, as in 02:00:00:00:00:01",
            at: position..<position + malformed)
    }

    private func digitCount(at start: Int, isHex: Bool) -> Int {
        guard start < bytes.count else { return 0 }
        return bytes[start...].prefix { Self.digit($0, isHex: isHex) != nil }.count
    }

    private static func digit(_ byte: UInt8, isHex: Bool) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f") where isHex:
            UInt32(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F") where isHex:
            UInt32(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }

    /// The length of a number at a place: decimal digits, or hexadecimal ones behind "0x".
    private func numberByteCount(at start: Int) -> Int {
        if start + 1 < bytes.count, bytes[start] == UInt8(ascii: "0"),
            bytes[start + 1] | 0x20 == 0x78
        {
            let count = digitCount(at: start + 2, isHex: true)
            if count > 0 { return count + 2 }
        }
        return digitCount(at: start, isHex: false)
    }

    /// The lengths of a number here, and of two to four numbers with dots between them.
    private var numberByteCounts: (number: Int, dotted: Int) {
        let first = numberByteCount(at: position)
        guard first > 0 else { return (0, 0) }
        var (end, dotted) = (position + first, 0)
        for _ in 1...3 {
            guard end < bytes.count, bytes[end] == UInt8(ascii: ".") else { break }
            let count = numberByteCount(at: end + 1)
            guard count > 0 else { break }
            end += 1 + count
            dotted = end - position
        }
        return (first, dotted)
    }

    /// The value of a number: hexadecimal behind "0x", octal behind "0", else decimal.
    private func value(_ byteCount: Int) throws(FilterError) -> UInt32 {
        let range = position..<position + byteCount
        guard let value = Self.value(bytes[range]) else {
            let isOctal = bytes[position] == UInt8(ascii: "0")
            throw FilterError(
                isOctal
                    && bytes[range].contains { $0 == UInt8(ascii: "8") || $0 == UInt8(ascii: "9") }
                    ? "a number that begins with 0 is octal, and has no 8 or 9"
                    : "the number does not fit into 32 bits", at: range)
        }
        return value
    }

    /// The value of a number's digits; nil if it has none, or does not fit.
    static func value(_ digits: ArraySlice<UInt8>) -> UInt32? {
        var (rest, base) = (digits, UInt32(10))
        if digits.count > 1, digits.first == UInt8(ascii: "0") {
            let isHex = digits[digits.startIndex + 1] | 0x20 == 0x78
            (rest, base) = (digits.dropFirst(isHex ? 2 : 1), isHex ? 16 : 8)
        }
        guard !rest.isEmpty else { return nil }
        var value: UInt32 = 0
        for byte in rest {
            guard let digit = digit(byte, isHex: true), digit < base else { return nil }
            let (product, tooLarge) = value.multipliedReportingOverflow(by: base)
            let (sum, carries) = product.addingReportingOverflow(digit)
            guard !tooLarge, !carries else { return nil }
            value = sum
        }
        return value
    }
}

/// Addresses of Ethernet and of IPv6.
extension Lexer {
    /// The length of an Ethernet address here: bytes between signs, three groups, or twelve digits.
    private var macByteCount: Int {
        max(
            groupsByteCount(6, between: ":", digitCounts: 1...2),
            groupsByteCount(6, between: "-", digitCounts: 1...2),
            groupsByteCount(6, between: ".", digitCounts: 1...2),
            groupsByteCount(3, between: ".", digitCounts: 4...4),
            digitCount(at: position, isHex: true) >= 12 ? 12 : 0)
    }

    private func groupsByteCount(
        _ groupCount: Int, between sign: Unicode.Scalar, digitCounts: ClosedRange<Int>
    ) -> Int {
        var end = position
        for group in 0..<groupCount {
            if group > 0 {
                guard end < bytes.count, bytes[end] == UInt8(ascii: sign) else { return 0 }
                end += 1
            }
            let count = min(digitCount(at: end, isHex: true), digitCounts.upperBound)
            guard count >= digitCounts.lowerBound else { return 0 }
            end += count
        }
        return end - position
    }

    private static func macBytes(_ text: ArraySlice<UInt8>) -> [UInt8] {
        let groups = text.split { digit($0, isHex: true) == nil }
        let digits =
            groups.count == 6
            ? groups.flatMap { group in
                group.count == 1 ? [UInt8(ascii: "0")] + Array(group) : Array(group)
            } : groups.flatMap(Array.init)
        return stride(from: 0, to: digits.count - 1, by: 2).map { index in
            let (high, low) = (digits[index], digits[index + 1])
            return UInt8(
                (digit(high, isHex: true) ?? 0) << 4 | (digit(low, isHex: true) ?? 0))
        }
    }

    /// The length of bytes with colons between them that are no address.
    private var malformedMACByteCount: Int {
        var (end, groupCount, lastEnd) = (position, 0, 0)
        while true {
            let count = digitCount(at: end, isHex: true)
            guard (1...2).contains(count) else { break }
            groupCount += 1
            (end, lastEnd) = (end + count, end + count)
            guard end < bytes.count, bytes[end] == UInt8(ascii: ":") else { break }
            end += bytes[end...].prefix { $0 == UInt8(ascii: ":") }.count
        }
        return groupCount > 2 ? lastEnd - position : 0
    }

    /// The longest IPv4 address.
    private static let ipv4ByteCountMax = 15

    /// The text here that is made as an IPv6 address is; it may have a few bytes too many.
    ///
    /// It is empty if there is none, so that no text has many places at which one is looked for in vain.
    private var ipv6Text: ArraySlice<UInt8> {
        let colon = UInt8(ascii: ":")
        var (end, groupCount, isShort) = (position, 0, false)
        while groupCount < 8 {
            let digits = bytes[end...].prefix(4).prefix { Self.digit($0, isHex: true) != nil }
            let rest = bytes[(end + digits.count)...]
            if !digits.isEmpty { groupCount += 1 }
            if !digits.isEmpty, rest.first == UInt8(ascii: ".") {
                // An IPv4 address is at the end.
                end +=
                    bytes[end...].prefix(Self.ipv4ByteCountMax).prefix { byte in
                        Self.digit(byte, isHex: true) != nil || byte == UInt8(ascii: ".")
                    }.count
                break
            }
            end += digits.count
            guard rest.first == colon else { break }
            if rest.dropFirst().first == colon {
                guard !isShort else { break }
                isShort = true
                end += 2
            } else {
                guard !digits.isEmpty else { break }
                end += 1
            }
        }
        return isShort || groupCount >= 7 ? bytes[position..<end] : []
    }

    /// The length of an IPv6 address here.
    private var ipv6ByteCount: Int {
        var text = ipv6Text
        while text.count >= 2 {
            if let address = IPAddress(String(decoding: text, as: UTF8.self)),
                address.family == .ipv6
            {
                return text.count
            }
            text.removeLast()
        }
        return 0
    }
}
