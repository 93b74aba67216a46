import Addressing
import COpenSSL
package import Linux

/// The side of TLS that verifies a certificate, whichever side has opened the connection.
package final class TLSClient: Sendable {
    /// The certificates that vouch for the peer.
    package enum Authority: Equatable, Sendable {
        /// The certificates in a PEM file, of authorities or of the peers themselves.
        case file(String)
        /// The authorities that this machine trusts.
        case system
        /// Nobody: anyone on the way can pose as the peer, and read everything.
        case unverified
    }

    private let context: TLSContext
    private let authority: Authority

    /// Reads the certificates to trust, once.
    ///
    /// - Throws: `TLSFailure.file` if they cannot be used.
    package init(trusting authority: Authority) throws(TLSFailure) {
        context = try TLSContext(.client)
        self.authority = authority
        // Safety, for all: the calls read the path up to its end, and the context is not shared yet.
        switch authority {
        case .file(let path):
            try PEMFile(path).check()
            guard unsafe SSL_CTX_load_verify_file(context.pointer, path) == 1 else {
                throw PEMFile(path).noCertificate(.take())
            }
            // A peer's own certificate in the file is enough, whatever authority has signed it.
            let parameters = unsafe SSL_CTX_get0_param(context.pointer)
            unsafe _ = X509_VERIFY_PARAM_set_flags(
                parameters, CUnsignedLong(X509_V_FLAG_PARTIAL_CHAIN))
        case .system:
            guard unsafe SSL_CTX_set_default_verify_paths(context.pointer) == 1 else {
                throw .library(OpenSSLFailure("SSL_CTX_set_default_verify_paths"))
            }
        case .unverified: break
        }
        unsafe SSL_CTX_set_verify(
            context.pointer, authority == .unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nil)
    }

    /// Begins TLS on a connection, whose handshake comes next.
    ///
    /// - Parameters:
    ///   - connection: The connection.
    ///   - host: The name or IP address that the certificate must be for. With nil it may be for any
    ///     host that the authority vouches for. This is right only for a private authority, such as
    ///     that of agents that dial in from any node.
    /// - Returns: The connection, before its handshake.
    /// - Throws: `TLSFailure.host` if no certificate can be for the host.
    package func connect(
        _ connection: consuming Connection, host: String?
    ) throws(TLSFailure) -> TLSConnection {
        let session = try TLSSession(context, on: connection.fileDescriptor)
        if let host { try expect(host, session) }
        // Safety: the session has just been made, nobody else has it.
        unsafe SSL_set_connect_state(session.pointer)
        return TLSConnection(connection, session, host: host)
    }

    /// Requires that the peer's certificate be for a host.
    private func expect(_ host: String, _ session: borrowing TLSSession) throws(TLSFailure) {
        // As in a URL, a final dot says that the name is complete, and is no part of it.
        let name = host.hasSuffix(".") ? String(host.dropLast()) : host
        // OpenSSL takes no name for any, and a zero byte for the end.
        guard !name.isEmpty, !name.utf8.contains(0) else { throw .host(host) }
        OpenSSLError.clear()
        // Safety, for all: the calls read the name up to its end and keep a copy, and the session
        // has just been made.
        let parameters = unsafe SSL_get0_param(session.pointer)
        if IPAddress(name) != nil {
            guard unsafe X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1 else {
                throw .host(host)
            }
            // There is no SNI for addresses (RFC 6066, section 3).
            return
        }
        unsafe X509_VERIFY_PARAM_set_hostflags(
            parameters, CUnsignedInt(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
        guard unsafe X509_VERIFY_PARAM_set1_host(parameters, name, 0) == 1,
            unsafe copenssl_set_server_name(session.pointer, name) == 1
        else { throw .host(host) }
    }
}
