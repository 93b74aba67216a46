import COpenSSL
import Glibc

/// Something that OpenSSL could not do, and why.
package struct OpenSSLFailure: Error, Equatable, CustomStringConvertible {
    package let operation: String
    package let reason: String

    package var description: String { "\(operation): \(reason)" }

    /// By default with the error that OpenSSL has kept for this thread.
    init(_ operation: String, _ error: OpenSSLError = .take()) {
        (self.operation, reason) = (operation, error.reason)
    }
}

/// An entry of the list of errors that OpenSSL keeps for each thread.
struct OpenSSLError {
    let code: UInt

    /// Forgets what went wrong before, here and in `errno`: to be called before what may fail.
    static func clear() {
        _ = isPrepared
        ERR_clear_error()
        errno = 0
    }

    /// OpenSSL would take itself apart as the program exits, under the hands of threads that still
    /// send. This has to come before any other call.
    private static let isPrepared: Bool =
        OPENSSL_init_ssl(UInt64(OPENSSL_INIT_NO_ATEXIT), nil) == 1

    /// The error that came first, which is the cause of the others; they are thrown away.
    static func take() -> Self {
        defer { ERR_clear_error() }
        return Self(code: ERR_get_error())
    }

    var library: CInt { ERR_GET_LIB(code) }
    var number: CInt { ERR_GET_REASON(code) }

    var reason: String {
        // Safety: both texts are constants, or stay put until this thread asks again.
        if code == 0 { return "no reason is given" }
        if library == ERR_LIB_SYS { return unsafe String(cString: strerror(number)) }
        guard let text = unsafe ERR_reason_error_string(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }
}
