import COpenSSL
import Glibc
package import Linux

/// A connection over TLS, version 1.2 at least. It never waits; `poll` does.
///
/// It has the verbs of `Connection`, and one more, the handshake, which goes before them. What they
/// wait for can be the other direction: a write may have to read first, and the other way around,
/// so a poll loop takes its interest from `receiveWaitsFor` and `sendWaitsFor`. Its verbs are
/// mutating, so only one thread at a time can use it.
///
/// A peer that closes without saying so first (close_notify) has ended its stream, as over TCP:
/// daemons end that way. Whoever cuts the connection can make it look so, too.
package struct TLSConnection: ~Copyable, Sendable {
    package let connection: Connection
    private let session: TLSSession
    /// Whom the certificate has to be for, if anybody in particular.
    private let host: String?
    private var hasFailed = false
    /// How many bytes the last `send` was offered that it could not send.
    private var refusedByteCount = 0

    /// What to wait for after `receive` has answered nil.
    package private(set) var receiveWaitsFor: Readiness = .readable
    /// What to wait for after `send` has answered 0.
    package private(set) var sendWaitsFor: Readiness = .writable

    /// The largest piece that `receive` answers: the most that one record of TLS holds.
    package static let recordByteCountMax = 16_384

    init(_ connection: consuming Connection, _ session: consuming TLSSession, host: String? = nil) {
        self.connection = connection
        self.session = session
        self.host = host
    }

    /// For a poll set.
    package var fileDescriptor: CInt { connection.fileDescriptor }

    /// The version that both ends have agreed on: `"TLSv1.3"`.
    package var version: String {
        // Safety: the text is a constant of the library.
        unsafe String(cString: SSL_get_version(session.pointer))
    }

    /// Whether `receive` has something although nothing more may arrive. Poll does not know of it,
    /// so call `receive` again before waiting.
    package var hasBytesToReceive: Bool {
        // Safety: a question that changes nothing.
        unsafe SSL_pending(session.pointer) > 0
    }

    /// Goes on with the handshake as far as it gets without waiting. Answers what to wait for before
    /// the next call, or nil when it is done. How long the peer may take is up to the caller.
    package mutating func handshake() throws(TLSFailure) -> Readiness? {
        OpenSSLError.clear()
        // Safety: the session is this connection's own.
        let result = unsafe SSL_do_handshake(session.pointer)
        let code = errno
        if result == 1 { return nil }
        guard let readiness = try settle(result, code, "TLS handshake") else { throw .closed }
        return readiness
    }

    /// Reads what has arrived into the buffer, at most a record of it. Nil if nothing has; 0 at the
    /// end of the stream. The buffer must not be empty.
    package mutating func receive(into buffer: inout [UInt8]) throws(TLSFailure) -> Int? {
        precondition(!buffer.isEmpty)
        OpenSSLError.clear()
        // Safety: the call writes at most as many bytes as the buffer has.
        let byteCountMax = CInt(clamping: buffer.count)
        let count = unsafe SSL_read(session.pointer, &buffer, byteCountMax)
        let code = errno
        // What a write has waited for may have come, too.
        (receiveWaitsFor, sendWaitsFor) = (.readable, .writable)
        if count > 0 { return Int(count) }
        guard let readiness = try settle(count, code, "recv") else { return 0 }
        receiveWaitsFor = readiness
        return nil
    }

    /// Sends what the socket takes, at most a record of it, and answers how many bytes that was.
    ///
    /// After 0 the next call has to offer the same bytes first, and may have more behind them: some
    /// of them may be encrypted already.
    package mutating func send(_ bytes: ArraySlice<UInt8>) throws(TLSFailure) -> Int {
        let span = bytes.span
        // Safety: a `UInt8` has no padding, so all bytes are initialized.
        return try unsafe send(span.bytes)
    }

    /// The same for bytes that lie anywhere; nothing is copied but into the record.
    package mutating func send(_ bytes: RawSpan) throws(TLSFailure) -> Int {
        precondition(bytes.byteCount >= refusedByteCount, "bytes were taken back from a stream")
        // OpenSSL has no meaning for a write of nothing. Of more than a record it would send several
        // when it is asked again, and say so only with the last.
        let offeredCount =
            refusedByteCount > 0
            ? refusedByteCount : min(bytes.byteCount, Self.recordByteCountMax)
        guard offeredCount > 0 else { return 0 }
        OpenSSLError.clear()
        // Safety: the call reads only the bytes of the span.
        let (count, code) = unsafe bytes.withUnsafeBytes { bytes in
            let count = unsafe SSL_write(
                session.pointer, bytes.baseAddress, CInt(offeredCount))
            return (count, errno)
        }
        (receiveWaitsFor, sendWaitsFor, refusedByteCount) = (.readable, .writable, 0)
        if count > 0 { return Int(count) }
        guard let readiness = try settle(count, code, "send") else {
            throw .system(SystemError("send", .brokenPipe))
        }
        (sendWaitsFor, refusedByteCount) = (readiness, offeredCount)
        return 0
    }

    /// Tells the peer that nothing more comes (close_notify), if the socket takes it now. Nothing can
    /// be sent afterwards.
    package mutating func shutDown() {
        // Safety: the session is this connection's own. After a failure OpenSSL forbids the call.
        guard !hasFailed, unsafe SSL_is_init_finished(session.pointer) == 1 else { return }
        unsafe _ = SSL_shutdown(session.pointer)
        OpenSSLError.clear()
    }

    /// What a result that is no success means: wait for this, or nil for the end of the stream.
    private mutating func settle(
        _ result: CInt, _ code: CInt, _ operation: String
    ) throws(TLSFailure) -> Readiness? {
        // Safety: it looks at the session and at this thread's errors.
        switch unsafe SSL_get_error(session.pointer, result) {
        case SSL_ERROR_WANT_READ: return .readable
        case SSL_ERROR_WANT_WRITE: return .writable
        case SSL_ERROR_ZERO_RETURN: return nil
        case SSL_ERROR_SYSCALL:
            hasFailed = true
            guard code != 0 else { return nil }
            throw .system(SystemError(operation, Errno(rawValue: code)))
        default:
            hasFailed = true
            throw failure(OpenSSLError.take(), operation)
        }
    }

    private func failure(_ error: OpenSSLError, _ operation: String) -> TLSFailure {
        guard error.library == ERR_LIB_SSL else {
            return .library(OpenSSLFailure(operation, error))
        }
        switch error.number {
        case SSL_R_CERTIFICATE_VERIFY_FAILED: return .untrusted(reason: verdict)
        case SSL_R_WRONG_VERSION_NUMBER, SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST:
            return .notTLS
        case Self.alerts:
            // Safety: the text is a constant of the library.
            let alert = unsafe SSL_alert_desc_string_long(error.number - SSL_AD_REASON_OFFSET)
            return .refused(reason: unsafe alert.map { unsafe String(cString: $0) } ?? error.reason)
        default: return .library(OpenSSLFailure(operation, error))
        }
    }

    /// The numbers that stand for alerts which the peer has sent; an alert is a byte.
    private static let alerts = SSL_AD_REASON_OFFSET...SSL_AD_REASON_OFFSET + 255

    /// Why the peer's certificate was turned down.
    private var verdict: String {
        // Safety: it looks at the session, and the text is a constant of the library.
        let code = unsafe SSL_get_verify_result(session.pointer)
        let reason = unsafe String(cString: X509_verify_cert_error_string(code))
        switch CInt(truncatingIfNeeded: code) {
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
            return "it is not for \(host ?? "this host") (\(reason))"
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
            X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
            X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
            return "its issuer is not among the trusted authorities (\(reason))"
        default: return reason
        }
    }
}
