import COpenSSL

/// A salted hash of a password, which does not reveal the password to its readers.
///
/// It is PBKDF2 with HMAC-SHA512 (RFC 8018). scrypt and Argon2 make guessing dearer since they need
/// much memory. But that memory would be the agent's, which has a bound, and any peer could have it
/// used by trying to log in.
package struct PasswordHash: Equatable, Sendable, LosslessStringConvertible {
    private let salt: [UInt8]
    private let hash: [UInt8]
    let iterationCount: Int

    /// The count that OWASP advises for this function: about a tenth of a second for each guess.
    static let iterationCountDefault = 210_000
    /// The counts that are accepted: fewer protect nothing, more keep an agent from its work.
    private static let iterationCounts = 10_000...10_000_000
    private static let saltByteCount = 16
    private static let hashByteCount = 32
    private static let scheme = "pbkdf2-sha512"

    /// Hashes a password, which takes about a tenth of a second.
    package init(of password: [UInt8]) throws(OpenSSLFailure) {
        salt = Self.random(Self.saltByteCount)
        iterationCount = Self.iterationCountDefault
        hash = try Self.derive(password, salt, iterationCount)
    }

    /// Creates a hash of no known password, which costs as much to try as others.
    init(matchingNothing iterationCount: Int) {
        salt = Self.random(Self.saltByteCount)
        hash = Self.random(Self.hashByteCount)
        self.iterationCount = iterationCount
    }

    /// Parses `$pbkdf2-sha512$ITERATIONS$SALT$HASH`, with salt and hash in base64.
    package init?(_ text: String) {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[0].isEmpty, parts[1] == Self.scheme,
            let count = Int(parts[2]), Self.iterationCounts.contains(count), "\(count)" == parts[2],
            let salt = Base64.decode(parts[3], byteCount: Self.saltByteCount),
            let hash = Base64.decode(parts[4], byteCount: Self.hashByteCount)
        else { return nil }
        (self.salt, self.hash, iterationCount) = (salt, hash, count)
    }

    /// The text that `init(_:)` parses.
    package var description: String {
        "$\(Self.scheme)$\(iterationCount)$\(Base64.encode(salt))$\(Base64.encode(hash))"
    }

    /// Checks a password, which takes about a tenth of a second, whatever the result.
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

/// Base64 in its canonical form (RFC 4648).
enum Base64 {
    static func encode(_ bytes: [UInt8]) -> String {
        // Safety: the call writes four characters for every three bytes begun, and a zero byte.
        var text = [UInt8](repeating: 0, count: (bytes.count + 2) / 3 * 4 + 1)
        let count = unsafe EVP_EncodeBlock(&text, bytes, CInt(bytes.count))
        return String(decoding: text.prefix(Int(count)), as: UTF8.self)
    }

    /// Decodes a text; nil if it is not the canonical form of `byteCount` bytes.
    static func decode(_ text: Substring, byteCount: Int) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count == (byteCount + 2) / 3 * 4 else { return nil }
        // Safety: the call writes three bytes for each four characters.
        var bytes = [UInt8](repeating: 0, count: characters.count / 4 * 3)
        let count = unsafe EVP_DecodeBlock(&bytes, characters, CInt(characters.count))
        guard count == bytes.count else { return nil }
        // The call skips spaces and ignores padding, so the result is encoded and compared.
        bytes.removeLast(bytes.count - byteCount)
        return encode(bytes) == text ? bytes : nil
    }
}
