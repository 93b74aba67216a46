package import Linux

/// The reason why a TLS connection could not be made or has ended.
package enum TLSFailure: Error, Equatable, CustomStringConvertible {
    /// The peer's first bytes are not TLS; what it has said, as far as that is known.
    case notTLS(said: [UInt8] = [])
    /// The peer's certificate was rejected.
    case untrusted(reason: String)
    /// The peer ended the connection with an alert (RFC 8446, section 6).
    case refused(reason: String)
    /// The peer closed the connection during the handshake.
    case closed
    /// A system call failed.
    case system(SystemError)
    /// OpenSSL failed.
    case library(OpenSSLFailure)
    /// A certificate, a key or a list of authorities cannot be used.
    case file(String, fault: String)
    /// The host is one that no certificate can be for.
    case host(String)

    /// The reason, with the remedy where there is one.
    package var description: String {
        switch self {
        case .notTLS: "the peer does not speak TLS: it has to be on at both ends or at none"
        case .untrusted(let reason): "the peer's certificate is not trusted: \(reason)"
        case .refused(let reason): "the peer refused TLS: \(reason)"
        case .closed: "the peer closed the connection during the TLS handshake"
        case .system(let error): error.description
        case .library(let failure): failure.description
        case .file(let path, let fault): "\(path): \(fault)"
        case .host(let name): "\"\(name)\" is neither a host's name nor an IP address"
        }
    }
}
