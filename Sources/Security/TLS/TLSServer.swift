import COpenSSL
package import Linux
import Synchronization

/// The side of TLS that shows a certificate, whichever side has opened the connection.
///
/// Certificates are renewed while the agent runs, by cert-manager for instance. So each new
/// connection looks whether the files have changed, and if so they are read again. As long as what is
/// there cannot be used, the certificate and key read last are.
package final class TLSServer: Sendable {
    private let certificate: String
    private let key: String
    private let state: Mutex<State>

    private struct State {
        var context: TLSContext
        /// Of the certificate and the key when they were read last; nil where there was none.
        var stamps: [FileStamp?]
        var notices = Notices()
    }

    /// Reads two PEM files: the server's certificate with those behind it that lead to an authority,
    /// and its private key. Throws `TLSFailure.file` with what is wrong with which, and the remedy.
    package init(certificate: String, key: String) throws(TLSFailure) {
        (self.certificate, self.key) = (certificate, key)
        // Looked at before they are read, so that a change in between is seen the next time.
        let stamps = Self.stamps(certificate, key)
        var state = State(context: try Self.context(certificate, key), stamps: stamps)
        Self.warnIfExpired(&state, certificate)
        self.state = Mutex(state)
    }

    /// Begins TLS on a connection: its handshake comes next. Waits for the disk if the files have
    /// changed.
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

    /// What the log should say, once: certificates read again, and those that cannot be used.
    package func takeNotices() -> [Notice] {
        state.withLock { $0.notices.take() }
    }

    private func renew(_ state: inout State) {
        let stamps = Self.stamps(certificate, key)
        guard stamps != state.stamps else { return }
        state.stamps = stamps
        do throws(TLSFailure) {
            state.context = try Self.context(certificate, key)
            state.notices.add(.information("\(certificate) was read again"))
            Self.warnIfExpired(&state, certificate)
        } catch {
            state.notices.add(.warning("\(error); the certificate read before stays in use"))
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
                this key is not that of the certificate in \(certificate): give both of one pair, the \
                server's own certificate first
                """)
    }

    private static func warnIfExpired(_ state: inout State, _ path: String) {
        // Safety: the certificate and its date belong to the context, which is there for as long.
        let certificate = unsafe SSL_CTX_get0_certificate(state.context.pointer)
        guard unsafe X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0 else { return }
        state.notices.add(.warning("\(path): this certificate has expired: peers will refuse it"))
    }
}
