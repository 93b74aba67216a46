import Glibc

/// The reason why a system call failed (errno(3)).
///
/// The names are those of swift-system where it has one. Reasons without a name here work as well.
package struct Errno: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number in the kernel's headers.
    package let rawValue: CInt

    /// A reason by its number.
    package init(rawValue: CInt) { self.rawValue = rawValue }

    /// The reason that the last failed call of this thread has left.
    package static var current: Self { Self(rawValue: Glibc.errno) }

    /// The kernel's words: `"Connection refused"`.
    package var description: String {
        // Safety: strerror(3) has a text for any number, which stays until this thread asks again.
        unsafe String(cString: strerror(rawValue))
    }
}

extension Errno {
    /// `EACCES`
    package static let permissionDenied = Self(rawValue: EACCES)
    /// `EADDRINUSE`
    package static let addressInUse = Self(rawValue: EADDRINUSE)
    /// `EADDRNOTAVAIL`
    package static let addressNotAvailable = Self(rawValue: EADDRNOTAVAIL)
    /// `EAFNOSUPPORT`
    package static let addressFamilyNotSupported = Self(rawValue: EAFNOSUPPORT)
    /// `EAGAIN`, which Linux also calls `EWOULDBLOCK`
    package static let wouldBlock = Self(rawValue: EAGAIN)
    /// `ECANCELED`
    package static let canceled = Self(rawValue: ECANCELED)
    /// `ECONNABORTED`
    package static let connectionAbort = Self(rawValue: ECONNABORTED)
    /// `ECONNREFUSED`
    package static let connectionRefused = Self(rawValue: ECONNREFUSED)
    /// `ECONNRESET`
    package static let connectionReset = Self(rawValue: ECONNRESET)
    /// `EFBIG`
    package static let fileTooLarge = Self(rawValue: EFBIG)
    /// `EHOSTUNREACH`
    package static let hostUnreachable = Self(rawValue: EHOSTUNREACH)
    /// `EINPROGRESS`
    package static let nowInProgress = Self(rawValue: EINPROGRESS)
    /// `EINTR`
    package static let interrupted = Self(rawValue: EINTR)
    /// `EINVAL`
    package static let invalidArgument = Self(rawValue: EINVAL)
    /// `EMSGSIZE`
    package static let messageTooLong = Self(rawValue: EMSGSIZE)
    /// `ENETDOWN`
    package static let networkDown = Self(rawValue: ENETDOWN)
    /// `ENETUNREACH`
    package static let networkUnreachable = Self(rawValue: ENETUNREACH)
    /// `ENOBUFS`
    package static let noBufferSpace = Self(rawValue: ENOBUFS)
    /// `ENODEV`
    package static let noSuchDevice = Self(rawValue: ENODEV)
    /// `ENOENT`
    package static let noSuchFileOrDirectory = Self(rawValue: ENOENT)
    /// `ENOMEM`
    package static let noMemory = Self(rawValue: ENOMEM)
    /// `ENOPROTOOPT`
    package static let protocolOptionNotSupported = Self(rawValue: ENOPROTOOPT)
    /// `ENXIO`
    package static let noSuchAddressOrDevice = Self(rawValue: ENXIO)
    /// `EPERM`
    package static let notPermitted = Self(rawValue: EPERM)
    /// `EPIPE`
    package static let brokenPipe = Self(rawValue: EPIPE)
    /// `EPROTO`
    package static let protocolError = Self(rawValue: EPROTO)
    /// `EPROTONOSUPPORT`
    package static let protocolNotSupported = Self(rawValue: EPROTONOSUPPORT)
    /// `ETIMEDOUT`
    package static let timedOut = Self(rawValue: ETIMEDOUT)
}
