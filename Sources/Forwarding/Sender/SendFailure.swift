package import Linux
package import Security

/// A failure that ends the data path of a capture.
package enum SendFailure: Error, CustomStringConvertible {
    /// The peer closed the data connection.
    case closed
    /// The TLS connection failed.
    case tls(TLSFailure)
    /// A system call failed.
    case system(SystemError)

    /// The reason, for the log.
    package var description: String {
        switch self {
        case .closed: "the peer closed the data connection"
        case .tls(let failure): "\(failure)"
        case .system(let error): "\(error)"
        }
    }

    /// Makes system calls, whose error becomes a failure of the data path.
    static func rethrowing<Result: ~Copyable>(
        _ body: () throws(SystemError) -> Result
    ) throws(SendFailure) -> Result {
        do throws(SystemError) {
            return try body()
        } catch {
            throw .system(error)
        }
    }
}
