import COpenSSL

/// What is kept of a password, so that whoever reads it does not know the password.
///
/// It is PBKDF2 with HMAC-SHA512 (RFC 8018). Guessing costs an attacker more with scrypt or Argon2,
/// which need much memory. But that memory would be the agent's, which has a bound, and any peer
/// could make it be used by trying to log in.
package struct PasswordHash: Equatable, Sendable, LosslessStringConvertible {
    private let salt: [UInt8]
    private let hash: [UInt8]
    let iterationCount: Int

    /// What OWASP advises for this function: about a tenth of a second for each guess.
    static let iterationCountDefault = 210_000
    /// Fewer protect nothing, more would keep an agent from its work.
    private static let iterationCounts = 10_000...10_000_000
    private static let saltByteCount = 16
    private static let hashByteCount = 32
    private static let scheme = "pbkdf2-sha512"

    /// Hashes a password, which takes about a tenth of a second. Throws if OpenSSL cannot.
    package init(of password: [UInt8]) throws(OpenSSLFailure) {
        salt = Self.random(Self.saltByteCount)
        iterationCount = Self.iterationCountDefault
        hash = try Self.derive(password, salt, iterationCount)
    }

    /// A hash that no password is known for, and that costs as much to try.
    init(matchingNothing iterationCount: Int) {
        salt = Self.random(Self.saltByteCount)
        hash = Self.random(Self.hashByteCount)
        self.iterationCount = iterationCount
    }

    /// Reads `$pbkdf2-sha512$ITERATIONS$SALT$HASH`, salt and hash in base64; nil for anything else.
    package init?(_ text: String) {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0].isEmpty, parts[1] == Self.scheme,
            let count = Int(parts[2]), Self.iterationCounts.contains(count), "\(count)" == parts[2],
            let salt = Base64.decode(parts[3], byteCount: Self.saltByteCount),
            let hash = Base64.decode(parts[4], byteCount: Self.hashByteCount)
        else { return nil }
        (self.salt, self.hash, iterationCount) = (salt, hash, count)
    }

    package var description: String {
        "$\(Self.scheme)$\(iterationCount)$\(Base64.encode(salt))$\(Base64.encode(hash))"
    }

    /// Whether it is this password's. Takes as long whatever the answer, a tenth of a second or so.
    package func matches(_ password: [UInt8]) -> Bool {
        guard let other = try? Self.derive(password, salt, iterationCount) else { return false }
        // Safety: both arrays have as many bytes as are compared.
        return unsafe CRYPTO_memcmp(other, hash, Self.hashByteCount) == 0
    }

    private static func random(_ byteCount: Int) -> [UInt8] {
        // The kernel's generator, by getrandom(2).
        var generator = SystemRandomNumberGenerator()
        return (0..<byteCount).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    private static func derive(
        _ password: [UInt8], _ salt: [UInt8], _ iterationCount: Int
    ) throws(OpenSSLFailure) -> [UInt8] {
        var hash = [UInt8](repeating: 0, count: hashByteCount)
        OpenSSLError.clear()
        // Safety: the call reads the bytes of password and salt, and writes those of the hash.
        let result = unsafe password.withUnsafeBytes { bytes in
            unsafe PKCS5_PBKDF2_HMAC(
                bytes.baseAddress?.assumingMemoryBound(to: CChar.self), CInt(bytes.count), salt,
                CInt(salt.count), CInt(iterationCount), EVP_sha512(), CInt(hashByteCount), &hash)
        }
        guard result == 1 else { throw OpenSSLFailure("PBKDF2") }
        return hash
    }
}

/// Bytes as text (RFC 4648), of the one form that they have.
private enum Base64 {
    static func encode(_ bytes: [UInt8]) -> String {
        // Safety: the call writes four characters for each three bytes begun, and a zero byte.
        var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
        let count = unsafe EVP_EncodeBlock(&text, bytes, CInt(bytes.count))
        return String(decoding: text.prefix(Int(count)), as: UTF8.self)
    }

    /// So many bytes; nil if the text stands for others, or is not how they are written.
    static func decode(_ text: Substring, byteCount: Int) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count == (byteCount + 2) / 3 * 4 else { return nil }
        // Safety: the call writes three bytes for each four characters.
        var bytes = [UInt8](repeating: 0, count: characters.count / 4 * 3)
        let count = unsafe EVP_DecodeBlock(&bytes, characters, CInt(characters.count))
        guard count == bytes.count else { return nil }
        // It passes over spaces, and does not look at padding.
        bytes.removeLast(bytes.count - byteCount)
        return encode(bytes) == text ? bytes : nil
    }
}
