import Addressing

/// A login: who the client says it is.
package enum LoginRequest: Equatable, Sendable {
    /// A login without a name.
    case null
    case password(user: [UInt8], password: [UInt8])
    /// Another kind, which no client is known to use.
    case unknown(kind: UInt16)

    private static let fixedByteCount = 8

    init(_ payload: RawSpan) throws(ProtocolFailure) {
        guard payload.byteCount >= Self.fixedByteCount else { throw .tooShort("login request") }
        let userCount = Int(payload.uint16(at: 4))
        let end = Self.fixedByteCount + userCount + Int(payload.uint16(at: 6))
        guard end <= payload.byteCount else { throw .tooShort("login request") }
        switch payload.uint16(at: 0) {
        case 0: self = .null
        case 1:
            let passwordStart = Self.fixedByteCount + userCount
            self = .password(
                user: payload.extracting(Self.fixedByteCount..<passwordStart).array,
                password: payload.extracting(passwordStart..<end).array)
        case let kind: self = .unknown(kind: kind)
        }
    }

    package var bytes: [UInt8] {
        var (kind, user, password): (UInt16, [UInt8], [UInt8])
        switch self {
        case .null: (kind, user, password) = (0, [], [])
        case .password(let name, let secret): (kind, user, password) = (1, name, secret)
        case .unknown(let number): (kind, user, password) = (number, [], [])
        }
        user = Array(user.prefix(Self.textByteCountMax))
        password = Array(password.prefix(Self.textByteCountMax))
        var bytes: [UInt8] = []
        for value in [kind, 0, UInt16(user.count), UInt16(password.count)] {
            bytes.append(bigEndian: value)
        }
        return bytes + user + password
    }

    /// The longest text whose length fits into the message.
    private static let textByteCountMax = Int(UInt16.max)
}
