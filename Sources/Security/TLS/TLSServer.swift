import COpenSSL
package import Linux
import Synchronization

/// The side of TLS that presents a certificate, whichever side has opened the connection.
///
/// Certificates are renewed while the agent runs, by cert-manager for instance. Each new connection
/// therefore checks whether the files have changed, and reads them again if so. If the new ones
/// cannot be used, the certificate and key that were read before stay in use.
package final class TLSServer: Sendable {
    private let certificate: String
    private let key: String
    private let state: Mutex<State>

    private struct State {
        var context: TLSContext
        /// The stamps of the certificate and the key when they were read; nil for a missing file.
        var stamps: [FileStamp?]
        var events = ReloadEvents()
    }

    /// Reads a certificate and its key.
    ///
    /// - Parameters:
    ///   - certificate: The path of a PEM file with the server's certificate first, then those that
    ///     lead to an authority.
    ///   - key: The path of a PEM file with the private key.
    /// - Throws: `TLSFailure.file` with what is wrong with which file, and the remedy.
    package init(certificate: String, key: String) throws(TLSFailure) {
        (self.certificate, self.key) = (certificate, key)
        // The stamps come first, so that a change in between is seen the next time.
        let stamps = Self.stamps(certificate, key)
        var state = State(context: try Self.context(certificate, key), stamps: stamps)
        Self.warnIfExpired(&state, certificate)
        self.state = Mutex(state)
    }

    /// Begins TLS on a connection, whose handshake comes next.
    ///
    /// Waits for the disk if the files have changed.
    package func accept(_ connection: consuming Connection) throws(TLSFailure) -> TLSConnection {
        let context = state.withLock { state in
            renew(&state)
            return state.context
        }
        let session = try TLSSession(context, on: connection.fileDescriptor)
        // Safety: the session has just been made, nobody else has it.
        unsafe SSL_set_accept_state(session.pointer)
        return TLSConnection(connection, session)
    }

    /// Takes what the log should say of certificates that were read again or cannot be used.
    package func takeReloadEvents() -> [ReloadEvent] {
        state.withLock { $0.events.takeAll() }
    }

    /// Reads the files again if they have changed.
    private func renew(_ state: inout State) {
        let stamps = Self.stamps(certificate, key)
        guard stamps != state.stamps else { return }
        state.stamps = stamps
        do throws(TLSFailure) {
            state.context = try Self.context(certificate, key)
            state.events.add(.information("\(certificate) was read again"))
            Self.warnIfExpired(&state, certificate)
        } catch {
            state.events.add(.warning("\(error); the certificate read before stays in use"))
        }
    }

    private static func stamps(_ certificate: String, _ key: String) -> [FileStamp?] {
        [try? FileStamp(of: certificate), try? FileStamp(of: key)]
    }

    private static func context(
        _ certificate: String, _ key: String
    ) throws(TLSFailure) -> TLSContext {
        let context = try TLSContext(.server)
        try PEMFile(certificate).check()
        // Safety, for all: the calls read the path up to its end, and the context is not shared yet.
        guard unsafe SSL_CTX_use_certificate_chain_file(context.pointer, certificate) == 1 else {
            throw PEMFile(certificate).noCertificate(.take())
        }
        try PEMFile(key).check()
        guard unsafe SSL_CTX_use_PrivateKey_file(context.pointer, key, SSL_FILETYPE_PEM) == 1 else {
            let error = OpenSSLError.take()
            throw error.library == ERR_LIB_X509
                ? mismatch(certificate, key) : PEMFile(key).noKey(error)
        }
        guard unsafe SSL_CTX_check_private_key(context.pointer) == 1 else {
            OpenSSLError.clear()
            throw mismatch(certificate, key)
        }
        return context
    }

    private static func mismatch(_ certificate: String, _ key: String) -> TLSFailure {
        .file(
            key,
            fault: """
                this key is not that of the certificate in \(certificate): give a matching pair, the \
                server's own certificate first
                """)
    }

    private static func warnIfExpired(_ state: inout State, _ path: String) {
        // Safety: the certificate and its date belong to the context, which is there for as long.
        let certificate = unsafe SSL_CTX_get0_certificate(state.context.pointer)
        guard unsafe X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0 else { return }
        state.events.add(.warning("\(path): this certificate has expired, so peers will refuse it"))
    }
}
