/// A host name or an IP address, with a port or without one, as people write it.
///
/// These forms are read: `node1`, `node1:2003`, `192.0.2.1:2003`, `fd00::1`, `[fd00::1]`,
/// `[fd00::1]:2003` and `[192.0.2.1]:2003`. Brackets around IPv4 let a text be right for the address
/// of any node that is put into it. An IPv6 address can have a zone, as in `fe80::1%eth0`; the
/// resolver finds the link by its name.
package struct HostPort: Hashable, Sendable, CustomStringConvertible {
    /// The name or address, without brackets.
    package let host: String
    package let port: UInt16?

    /// Why a text is refused.
    ///
    /// The text is not repeated: it may be a part of something secret.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case noHost
        case hostTooLong
        /// The host has a space, a slash, a bracket, or a character that is not printable ASCII.
        case strangeHost
        case bracketNotClosed
        /// The text in brackets is no IP address.
        case noAddressInBrackets
        /// There are more colons than one, outside brackets, and it is no IPv6 address.
        case tooManyColons
        case noPort(ClosedRange<UInt16>)

        package var description: String {
            switch self {
            case .noHost: "it names no host"
            case .hostTooLong: "the host is longer than \(hostByteCountMax) bytes"
            case .strangeHost: "the host has characters that no host's name has"
            case .bracketNotClosed: "the bracket before the address is never closed"
            case .noAddressInBrackets: "what is in brackets is no IP address"
            case .tooManyColons:
                "an IPv6 address with a port belongs in brackets, as in [fd00::1]:2003"
            case .noPort(let range):
                "a port is a number from \(range.lowerBound) to \(range.upperBound)"
            }
        }
    }

    /// No name in the DNS is longer (RFC 1035, 2.3.4).
    private static let hostByteCountMax = 253

    package init(host: String, port: UInt16?) { (self.host, self.port) = (host, port) }

    /// Reads one of the forms above.
    ///
    /// Port 0 is refused unless `ports` has it: no socket can be reached there.
    package init(
        _ text: some StringProtocol, ports: ClosedRange<UInt16> = 1...UInt16.max
    ) throws(Failure) {
        let text = String(text)
        let (host, portText) = try Self.split(text)
        guard !host.isEmpty else { throw .noHost }
        guard host.utf8.count <= Self.hostByteCountMax else { throw .hostTooLong }
        let isPlain = host.utf8.allSatisfy {
            (0x21...0x7e).contains($0) && !"/[]".utf8.contains($0)
        }
        guard isPlain else { throw .strangeHost }
        self.host = String(host)
        guard let portText else {
            port = nil
            return
        }
        guard portText.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt16(portText), ports.contains(port)
        else { throw .noPort(ports) }
        self.port = port
    }

    /// The host, and what stands behind the colon after it.
    private static func split(_ text: String) throws(Failure) -> (Substring, port: Substring?) {
        guard text.hasPrefix("[") else {
            if isIPv6(text) { return (text[...], nil) }
            let host = text.prefix { $0 != ":" }
            guard host.endIndex != text.endIndex else { return (host, nil) }
            let port = text[text.index(after: host.endIndex)...]
            guard !port.contains(":") else { throw .tooManyColons }
            return (host, port)
        }
        guard let end = text.firstIndex(of: "]") else { throw .bracketNotClosed }
        let host = text[text.index(after: text.startIndex)..<end]
        guard isIPv6(host) || IPAddress(String(host)) != nil else { throw .noAddressInBrackets }
        let rest = text[text.index(after: end)...]
        guard rest.isEmpty || rest.hasPrefix(":") else { throw .noPort(1...UInt16.max) }
        return (host, rest.isEmpty ? nil : rest.dropFirst())
    }

    /// Whether it is an IPv6 address, with a zone or without one.
    private static func isIPv6(_ text: some StringProtocol) -> Bool {
        IPAddress(String(text.prefix { $0 != "%" }))?.family == .ipv6
    }

    /// The host as it stands before a port, in brackets if it has colons; and the port, if any.
    package var description: String {
        let host = host.contains(":") ? "[\(host)]" : host
        return port.map { "\(host):\($0)" } ?? host
    }
}
