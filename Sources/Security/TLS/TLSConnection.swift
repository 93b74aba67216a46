import COpenSSL
import Glibc
package import Linux

/// A connection over TLS 1.2 or later, which never waits.
///
/// It has the methods of `Connection`, and `handshake`, which goes before them. A write may have to
/// read first, and the other way around; a poll loop therefore takes its interest from
/// `receiveWaitsFor` and `sendWaitsFor`. The methods are mutating, so only one thread at a time can
/// use the connection.
///
/// A peer that closes without close_notify has ended its stream, as over TCP: daemons end that way.
/// An attacker who cuts the connection can make it look the same.
package struct TLSConnection: ~Copyable, Sendable {
    /// The TCP connection underneath.
    package let connection: Connection
    private let session: TLSSession
    /// The host that the certificate must be for, if it is a particular one.
    private let host: String?
    /// Whether nothing can be sent or received any more, as after an end without close_notify.
    package private(set) var hasFailed = false
    /// The number of bytes that the last `send` was given and could not send.
    private var refusedByteCount = 0

    /// The first bytes from the peer, which say more than OpenSSL does if they are no TLS.
    ///
    /// Nil until they come. OpenSSL receives nothing before, or it could take them unseen.
    private var beginning: [UInt8]?
    /// The most of them: a message with an error has no more.
    private static let beginningByteCountMax = 512

    /// What to wait for after `receive` has returned nil.
    package private(set) var receiveWaitsFor: Readiness = .readable
    /// What to wait for after `send` has returned 0.
    package private(set) var sendWaitsFor: Readiness = .writable

    /// The most bytes that `receive` returns at once, which is the content of one TLS record.
    package static let recordByteCountMax = 16_384

    init(_ connection: consuming Connection, _ session: consuming TLSSession, host: String? = nil) {
        self.connection = connection
        self.session = session
        self.host = host
    }

    /// The descriptor, for a poll set.
    package var fileDescriptor: CInt { connection.fileDescriptor }

    /// The version that both ends have agreed on: `"TLSv1.3"`.
    package var version: String {
        // Safety: the text is a constant of the library.
        unsafe String(cString: SSL_get_version(session.pointer))
    }

    /// Whether `receive` has bytes although nothing more may arrive.
    ///
    /// Poll does not know of them, so call `receive` again before waiting.
    package var hasBytesToReceive: Bool {
        // Safety: a question that changes nothing.
        unsafe SSL_pending(session.pointer) > 0
    }

    /// Goes on with the handshake as far as it gets without waiting.
    ///
    /// The caller decides how long the peer may take.
    ///
    /// - Returns: What to wait for before the next call, or nil when the handshake is done.
    package mutating func handshake() throws(TLSFailure) -> Readiness? {
        OpenSSLError.clear()
        try noteBeginning()
        // Safety: the session is this connection's own.
        let result = unsafe SSL_do_handshake(session.pointer)
        let code = errno
        if result == 1 { return nil }
        guard let readiness = try interpret(result, code, "TLS handshake") else { throw .closed }
        return readiness
    }

    /// Keeps the first bytes from the peer, when they are there, before OpenSSL reads them.
    private mutating func noteBeginning() throws(TLSFailure) {
        guard beginning == nil,
            let bytes = connection.peek(byteCountMax: Self.beginningByteCountMax)
        else { return }
        beginning = bytes
        try session.beginReceiving()
    }

    /// Reads what has arrived into the buffer, at most a record.
    ///
    /// The buffer must not be empty.
    ///
    /// - Returns: The number of bytes: nil if none has arrived, 0 at the end of the stream.
    package mutating func receive(into buffer: inout [UInt8]) throws(TLSFailure) -> Int? {
        precondition(!buffer.isEmpty)
        OpenSSLError.clear()
        try noteBeginning()
        // Safety: the call writes at most as many bytes as the buffer has.
        let byteCountMax = CInt(clamping: buffer.count)
        let count = unsafe SSL_read(session.pointer, &buffer, byteCountMax)
        let code = errno
        // A write may have waited for the same bytes.
        (receiveWaitsFor, sendWaitsFor) = (.readable, .writable)
        if count > 0 { return Int(count) }
        guard let readiness = try interpret(count, code, "recv") else { return 0 }
        receiveWaitsFor = readiness
        return nil
    }

    /// Sends what the socket takes, at most a record.
    ///
    /// After 0 the next call has to begin with the same bytes, since some of them may be encrypted
    /// already. It may have more behind them.
    ///
    /// - Returns: The number of bytes sent, which may be 0.
    package mutating func send(_ bytes: ArraySlice<UInt8>) throws(TLSFailure) -> Int {
        let span = bytes.span
        // Safety: a `UInt8` has no padding, so all bytes are initialized.
        return try unsafe send(span.bytes)
    }

    /// Sends bytes at any address, which are copied only into the record.
    package mutating func send(_ bytes: RawSpan) throws(TLSFailure) -> Int {
        precondition(bytes.byteCount >= refusedByteCount, "bytes were taken back from a stream")
        // OpenSSL does not define a write of nothing. Given more than a record it would send several
        // when it is called again, and report them only with the last.
        let offeredCount =
            refusedByteCount > 0
            ? refusedByteCount : min(bytes.byteCount, Self.recordByteCountMax)
        guard offeredCount > 0 else { return 0 }
        OpenSSLError.clear()
        try noteBeginning()
        // Safety: the call reads only the bytes of the span.
        let (count, code) = unsafe bytes.withUnsafeBytes { bytes in
            let count = unsafe SSL_write(
                session.pointer, bytes.baseAddress, CInt(offeredCount))
            return (count, errno)
        }
        (receiveWaitsFor, sendWaitsFor, refusedByteCount) = (.readable, .writable, 0)
        if count > 0 { return Int(count) }
        guard let readiness = try interpret(count, code, "send") else {
            throw .system(SystemError("send", .brokenPipe))
        }
        (sendWaitsFor, refusedByteCount) = (readiness, offeredCount)
        return 0
    }

    /// Ends the stream to the peer (close_notify), if the socket takes it now.
    ///
    /// Nothing can be sent afterwards.
    package mutating func shutDown() {
        // Safety: the session is this connection's own. OpenSSL forbids the call after a failure.
        guard !hasFailed, unsafe SSL_is_init_finished(session.pointer) == 1 else { return }
        unsafe _ = SSL_shutdown(session.pointer)
        OpenSSLError.clear()
    }

    /// Interprets a result other than success.
    ///
    /// - Returns: What to wait for, or nil at the end of the stream.
    private mutating func interpret(
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
            return .notTLS(said: beginning ?? [])
        case Self.alerts:
            // Safety: the text is a constant of the library.
            let alert = unsafe SSL_alert_desc_string_long(error.number - SSL_AD_REASON_OFFSET)
            return .refused(reason: unsafe alert.map { unsafe String(cString: $0) } ?? error.reason)
        default: return .library(OpenSSLFailure(operation, error))
        }
    }

    /// The numbers of alerts that the peer has sent; an alert is a byte.
    private static let alerts = SSL_AD_REASON_OFFSET...SSL_AD_REASON_OFFSET + 255

    /// The reason why the peer's certificate was rejected.
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
