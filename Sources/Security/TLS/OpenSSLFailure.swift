import COpenSSL
import Glibc
import Linux

/// A call to OpenSSL that failed, and why.
package struct OpenSSLFailure: Error, Equatable, CustomStringConvertible {
    /// The call, or what it was to do.
    package let operation: String
    /// OpenSSL's words.
    package let reason: String

    /// The call and the reason.
    package var description: String { "\(operation): \(reason)" }

    /// A failure, by default with the error that OpenSSL has kept for this thread.
    init(_ operation: String, _ error: OpenSSLError = .take()) {
        (self.operation, reason) = (operation, error.reason)
    }
}

/// An error of the list that OpenSSL keeps for each thread.
struct OpenSSLError {
    let code: UInt

    /// Clears the thread's errors and `errno`: to be called before what may fail.
    static func clear() {
        _ = isPrepared
        ERR_clear_error()
        errno = 0
    }

    /// Prepares OpenSSL, before any other call.
    ///
    /// It keeps OpenSSL from freeing its state as the program exits, while threads still send.
    private static let isPrepared: Bool =
        OPENSSL_init_ssl(UInt64(OPENSSL_INIT_NO_ATEXIT), nil) == 1

    /// Takes the first error, which is the cause of the others; they are dropped.
    static func take() -> Self {
        defer { ERR_clear_error() }
        return Self(code: ERR_get_error())
    }

    var library: CInt { ERR_GET_LIB(code) }
    var number: CInt { ERR_GET_REASON(code) }

    /// OpenSSL's words for the error.
    var reason: String {
        if code == 0 { return "no reason is given" }
        if library == ERR_LIB_SYS { return Errno(rawValue: number).description }
        // Safety: the text is a constant of the library.
        guard let text = unsafe ERR_reason_error_string(code) else { return "error \(code)" }
        return unsafe String(cString: text)
    }
}
