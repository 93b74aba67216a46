package import Time

import Glibc

/// What a descriptor is waited for, and afterwards what it is ready for.
package struct Readiness: OptionSet, Sendable {
    package let rawValue: Int16
    package init(rawValue: Int16) { self.rawValue = rawValue }

    package static let readable = Self(rawValue: Int16(POLLIN))
    package static let writable = Self(rawValue: Int16(POLLOUT))
    /// An error or the end of the connection, reported whether it was asked for or not.
    package static let failed = Self(rawValue: Int16(POLLERR | POLLHUP | POLLNVAL))
}

/// Waits until one of a few descriptors is ready (poll(2)), and answers what each is ready for, in
/// the order given; all empty if the time ran out. Negative milliseconds wait for ever, a negative
/// descriptor is passed over.
package func poll(
    _ requests: [(fileDescriptor: CInt, interest: Readiness)], milliseconds: CInt
) throws(SystemError) -> [Readiness] {
    var entries = requests.map {
        pollfd(fd: $0.fileDescriptor, events: $0.interest.rawValue, revents: 0)
    }
    try call("poll") { unsafe poll(&entries, nfds_t(entries.count), milliseconds) }
    return entries.map { Readiness(rawValue: $0.revents) }
}

/// Waits until one of a few descriptors is ready, or a time has come; nil waits for ever (poll(2)).
///
/// A negative descriptor is passed over. A time that is over already makes it look and not wait.
///
/// - Returns: What each descriptor is ready for, in the order given; all empty if the time came first.
package func poll(
    _ requests: [(fileDescriptor: CInt, interest: Readiness)], until deadline: MonotonicTime?
) throws(SystemError) -> [Readiness] {
    try poll(requests, milliseconds: waitMilliseconds(until: deadline))
}

/// How long a system call has to wait for a time; negative, which is for ever, if there is none.
func waitMilliseconds(until deadline: MonotonicTime?) -> CInt {
    guard let deadline, deadline != .distantFuture else { return -1 }
    return (deadline - .now).waitMilliseconds
}

/// Reads and throws away what a socket has received, but no more than 64 KiB: a peer that sends as fast
/// as that must not keep the caller. Answers false if the peer has closed it or it has failed.
package func discardReceived(from socket: CInt) throws(SystemError) -> Bool {
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    for _ in 0..<4 {
        // Safety: the call writes at most as many bytes as the array has.
        let count = unsafe recv(socket, &bytes, bytes.count, CInt(MSG_DONTWAIT))
        if count == 0 { return false }
        if count < 0 {
            if errno == EAGAIN { return true }
            guard errno == EINTR else { return false }
        }
    }
    return true
}
