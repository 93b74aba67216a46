import Addressing
import RPCAP

/// An agent to dial: its address, the login and the device, as a URL names them.
///
/// Its description has no password, so it can be shown.
package struct Source: Equatable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: UInt16
    /// Whether control and data go over TLS.
    package let isSecure: Bool
    /// The device to open; nil for the one that the agent has marked, or its first.
    package let device: String?
    let user: [UInt8]?
    private(set) var password: [UInt8]?

    /// The port at which rpcapd listens by default.
    static let standardPort: UInt16 = 2002
    /// The longest text that daemons take.
    private static let textByteCountMax = 1024

    /// Why a URL is refused.
    ///
    /// The URL is not repeated: there may be a password in it.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String

        init(_ description: String) { self.description = description }
    }

    /// Reads `rpcap://[user[:password]@]host[:port][/device]`, or with `rpcaps` for TLS.
    package init(url: String) throws(Failure) {
        let schemes = ["rpcap://", "rpcaps://"]
        guard let scheme = schemes.first(where: { url.lowercased().hasPrefix($0) }) else {
            throw Failure("it begins with \(schemes[0]), or \(schemes[1]) for TLS")
        }
        isSecure = scheme == schemes[1]
        let rest = url.dropFirst(scheme.count)
        guard !rest.contains(where: { "?#".contains($0) || $0.isWhitespace }) else {
            throw Failure("?, # and spaces have no place in it: write %3F, %23 and %20")
        }
        var authority = rest.prefix { $0 != "/" }
        let path = rest.dropFirst(authority.count).dropFirst()
        var login: (user: [UInt8], password: [UInt8]?)?
        if let at = authority.lastIndex(of: "@") {
            login = try Self.login(authority[..<at])
            authority = authority[authority.index(after: at)...]
        }
        (user, password) = (login?.user, login?.password)
        let name = try Self.hostPort(authority)
        (host, port) = (name.host, name.port ?? Self.standardPort)
        device = try path.isEmpty ? nil : Self.text(path, "device")
    }

    /// Whether there is a user without a password.
    package var needsPassword: Bool { user != nil && password == nil }

    /// Adds the password if the URL has none.
    package mutating func complete(password: [UInt8]) {
        if needsPassword { self.password = password }
    }

    package var description: String {
        place + (device.map { "/" + ReplyText.printable($0) } ?? "")
    }

    /// The URL of one of its devices, without a password.
    func url(ofDevice device: String) -> String {
        let login = user.map { Self.encoded(String(decoding: $0, as: UTF8.self)) + "@" } ?? ""
        return "rpcap\(isSecure ? "s" : "")://\(login)\(place)/\(Self.encoded(device))"
    }

    /// The host and the port: `"node1:2002"`, `"[fd00::1]:2002"`.
    var place: String { HostPort(host: host, port: port).description }

    /// The host, with its port if that is not the standard one.
    var shortPlace: String { port == Self.standardPort ? host : place }

    var login: LoginRequest {
        user.map { .password(user: $0, password: password ?? []) } ?? .null
    }
}

extension Source {
    private static func login(
        _ text: Substring
    ) throws(Failure) -> (user: [UInt8], password: [UInt8]?) {
        let user = text.prefix { $0 != ":" }
        guard !user.isEmpty else { throw Failure("there is an @ in it and no user before that") }
        let hasPassword = user.endIndex != text.endIndex
        let password = hasPassword ? text[text.index(after: user.endIndex)...] : ""
        return (
            try decoded(user, "user"),
            hasPassword && !password.isEmpty ? try decoded(password, "password") : nil
        )
    }

    private static func hostPort(_ text: Substring) throws(Failure) -> HostPort {
        let name: HostPort
        let text = try withoutEncodedZone(text)
        do throws(HostPort.Failure) {
            name = try HostPort(text)
        } catch {
            throw Failure("\(error)")
        }
        // In a URL also one without a port (RFC 3986, 3.2.2).
        guard text.hasPrefix("[") || !name.host.contains(":") else {
            throw Failure("an IPv6 address belongs in brackets, as in rpcap://[fd00::1]")
        }
        return name
    }

    /// Undoes the percent-encoding of an IPv6 zone: `%25eth0` in a URL is `%eth0` (RFC 6874, 2).
    private static func withoutEncodedZone(_ text: Substring) throws(Failure) -> Substring {
        let address = text.prefix { $0 != "%" }
        let zone = text.dropFirst(address.count).prefix { $0 != "]" }
        guard text.hasPrefix("["), zone.hasPrefix("%25"), zone.count > 3 else { return text }
        let name = String(decoding: try decoded(zone.dropFirst(3), "zone"), as: UTF8.self)
        return address + "%" + name + text[zone.endIndex...]
    }

    private static func text(_ text: Substring, _ what: String) throws(Failure) -> String {
        let bytes = try decoded(text, what)
        guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw Failure("the \(what) is no text in UTF-8")
        }
        return text
    }

    /// Percent-encodes what has another meaning in a URL, or none (RFC 3986, 2.3).
    private static func encoded(_ text: String) -> String {
        text.utf8.map { byte in
            let scalar = Unicode.Scalar(byte)
            let isPlain =
                scalar.isASCII
                && (scalar.properties.isAlphabetic
                    || "0123456789-._~".unicodeScalars.contains(scalar))
            guard !isPlain else { return String(scalar) }
            let digits = String(byte, radix: 16, uppercase: true)
            return "%" + (byte < 16 ? "0" : "") + digits
        }.joined()
    }

    /// Undoes percent-encoding (RFC 3986, 2.1).
    private static func decoded(_ text: Substring, _ what: String) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
                let value = UInt8(digits, radix: 16)
            else { throw Failure("in the \(what), % is not followed by two hexadecimal digits") }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        guard bytes.count <= textByteCountMax else {
            throw Failure("the \(what) is longer than \(textByteCountMax) bytes")
        }
        return bytes
    }
}
