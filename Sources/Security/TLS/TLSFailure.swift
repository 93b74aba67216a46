package import Linux

/// Why there is no TLS connection, or none any more.
package enum TLSFailure: Error, Equatable, CustomStringConvertible {
    /// What the peer sent first is no TLS.
    case notTLS
    /// The peer's certificate was looked at and turned down.
    case untrusted(reason: String)
    /// The peer ended it, and this is the alert it sent (RFC 8446, section 6).
    case refused(reason: String)
    /// The peer closed the connection during the handshake.
    case closed
    case system(SystemError)
    case library(OpenSSLFailure)
    /// A certificate, a key or a list of authorities that cannot be used.
    case file(String, fault: String)
    /// A host that no certificate can be for.
    case host(String)

    package var description: String {
        switch self {
        case .notTLS: "the peer speaks no TLS: it has to be on at both ends or at none"
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
