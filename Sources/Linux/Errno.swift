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
    /// Permission denied (`EACCES`).
    package static let permissionDenied = Self(rawValue: EACCES)
    /// Address in use (`EADDRINUSE`).
    package static let addressInUse = Self(rawValue: EADDRINUSE)
    /// Address not available (`EADDRNOTAVAIL`).
    package static let addressNotAvailable = Self(rawValue: EADDRNOTAVAIL)
    /// Address family not supported (`EAFNOSUPPORT`).
    package static let addressFamilyNotSupported = Self(rawValue: EAFNOSUPPORT)
    /// Would block (`EAGAIN`, also `EWOULDBLOCK`).
    package static let wouldBlock = Self(rawValue: EAGAIN)
    /// File descriptor in bad state (`EBADFD`).
    package static let badDescriptorState = Self(rawValue: EBADFD)
    /// Busy (`EBUSY`).
    package static let busy = Self(rawValue: EBUSY)
    /// Canceled (`ECANCELED`).
    package static let canceled = Self(rawValue: ECANCELED)
    /// Connection abort (`ECONNABORTED`).
    package static let connectionAbort = Self(rawValue: ECONNABORTED)
    /// Connection refused (`ECONNREFUSED`).
    package static let connectionRefused = Self(rawValue: ECONNREFUSED)
    /// Connection reset (`ECONNRESET`).
    package static let connectionReset = Self(rawValue: ECONNRESET)
    /// File exists (`EEXIST`).
    package static let fileExists = Self(rawValue: EEXIST)
    /// File too large (`EFBIG`).
    package static let fileTooLarge = Self(rawValue: EFBIG)
    /// Host unreachable (`EHOSTUNREACH`).
    package static let hostUnreachable = Self(rawValue: EHOSTUNREACH)
    /// Now in progress (`EINPROGRESS`).
    package static let nowInProgress = Self(rawValue: EINPROGRESS)
    /// Input/output error (`EIO`).
    package static let inputOutput = Self(rawValue: EIO)
    /// Interrupted (`EINTR`).
    package static let interrupted = Self(rawValue: EINTR)
    /// Invalid argument (`EINVAL`).
    package static let invalidArgument = Self(rawValue: EINVAL)
    /// Message too long (`EMSGSIZE`).
    package static let messageTooLong = Self(rawValue: EMSGSIZE)
    /// Network down (`ENETDOWN`).
    package static let networkDown = Self(rawValue: ENETDOWN)
    /// Network unreachable (`ENETUNREACH`).
    package static let networkUnreachable = Self(rawValue: ENETUNREACH)
    /// No buffer space (`ENOBUFS`).
    package static let noBufferSpace = Self(rawValue: ENOBUFS)
    /// No space left on device (`ENOSPC`).
    package static let noSpaceLeft = Self(rawValue: ENOSPC)
    /// Disk quota exceeded (`EDQUOT`).
    package static let quotaExceeded = Self(rawValue: EDQUOT)
    /// No such device (`ENODEV`).
    package static let noSuchDevice = Self(rawValue: ENODEV)
    /// No such file or directory (`ENOENT`).
    package static let noSuchFileOrDirectory = Self(rawValue: ENOENT)
    /// No memory (`ENOMEM`).
    package static let noMemory = Self(rawValue: ENOMEM)
    /// Protocol option not supported (`ENOPROTOOPT`).
    package static let protocolOptionNotSupported = Self(rawValue: ENOPROTOOPT)
    /// No such address or device (`ENXIO`).
    package static let noSuchAddressOrDevice = Self(rawValue: ENXIO)
    /// Not permitted (`EPERM`).
    package static let notPermitted = Self(rawValue: EPERM)
    /// Broken pipe (`EPIPE`).
    package static let brokenPipe = Self(rawValue: EPIPE)
    /// Protocol error (`EPROTO`).
    package static let protocolError = Self(rawValue: EPROTO)
    /// Protocol not supported (`EPROTONOSUPPORT`).
    package static let protocolNotSupported = Self(rawValue: EPROTONOSUPPORT)
    /// Stale file handle (`ESTALE`).
    package static let staleFileHandle = Self(rawValue: ESTALE)
    /// Timed out (`ETIMEDOUT`).
    package static let timedOut = Self(rawValue: ETIMEDOUT)
}
