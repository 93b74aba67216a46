import COpenSSL

/// The SHA-1 hash of bytes in Base64, as community ids have it; nil if OpenSSL refuses SHA-1.
///
/// It protects nothing: the ids are short names of flows.
package func sha1Base64(of bytes: [UInt8]) -> String? {
    var hash = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var byteCount: UInt32 = 0
    OpenSSLError.clear()
    // Safety: the call reads the bytes, and writes no more than EVP_MAX_MD_SIZE bytes.
    let result = unsafe EVP_Digest(bytes, bytes.count, &hash, &byteCount, EVP_sha1(), nil)
    guard result == 1 else {
        OpenSSLError.clear()
        return nil
    }
    return Base64.encode(Array(hash.prefix(Int(byteCount))))
}
