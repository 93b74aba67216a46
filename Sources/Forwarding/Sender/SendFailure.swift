package import Linux
package import Security

/// A failure that ends the data path of a capture.
package enum SendFailure: Error, CustomStringConvertible {
    /// The peer has closed the data connection, and takes nothing more.
    case closed
    /// The kernel has given up the data connection, since the peer took nothing for 60 s.
    case stalled
    /// The TLS connection failed.
    case tls(TLSFailure)
    /// A system call failed.
    case system(SystemError)

    /// The reason, for the log.
    package var description: String {
        switch self {
        case .closed: "the peer has closed the data connection"
        case .stalled: "the peer has read nothing for \(Connection.silenceMax.components.seconds) s"
        case .tls(let failure): "\(failure)"
        case .system(let error): "\(error)"
        }
    }

    /// What a failed call on the data connection means.
    package init(ofConnection error: SystemError) {
        switch error.errno {
        case .connectionReset, .brokenPipe: self = .closed
        case let errno where Connection.isGivenUp(errno): self = .stalled
        default: self = .system(error)
        }
    }

    /// What a failure of TLS on the data connection means.
    package init(ofConnection failure: TLSFailure) {
        if case .system(let error) = failure {
            self.init(ofConnection: error)
        } else {
            self = .tls(failure)
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
