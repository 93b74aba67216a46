import Glibc
package import Time

/// What a descriptor is waited for, and afterwards what it is ready for.
package struct Readiness: OptionSet, Hashable, Sendable {
    /// The bits of poll(2).
    package let rawValue: Int16

    /// Bits as poll(2) has them.
    package init(rawValue: Int16) { self.rawValue = rawValue }

    /// Something can be read.
    package static let readable = Self(rawValue: Int16(POLLIN))
    /// Something can be written.
    package static let writable = Self(rawValue: Int16(POLLOUT))
    /// An error or the end of the connection, which is reported without being asked for.
    package static let failed = Self(rawValue: Int16(POLLERR | POLLHUP | POLLNVAL))
}

/// The descriptors that `poll` has found ready, by the caller's keys.
package struct ReadyDescriptors<Key: Hashable> {
    private let states: [Key: Readiness]

    /// Ready descriptors by their keys; those that are not ready are left out.
    package init(_ states: [Key: Readiness]) { self.states = states }

    /// What a descriptor is ready for; empty if it is not ready or was not waited for.
    package subscript(key: Key) -> Readiness { states[key] ?? [] }

    /// Whether nothing is ready, since the time came first.
    package var isEmpty: Bool { states.isEmpty }

    /// The keys of all descriptors that are ready, in no order.
    package var keys: some Collection<Key> { states.keys }
}

/// Waits until a descriptor of a few is ready or a time has come (poll(2)).
///
/// - Parameters:
///   - requests: What to wait for, by keys of the caller's. A negative descriptor is passed over.
///   - deadline: When to stop waiting; nil for never. If it is over, the call looks and does not wait.
/// - Returns: The descriptors that are ready; none if the time came first.
/// - Throws: The kernel's reason for refusing to wait.
package func poll<Key: Hashable>(
    _ requests: [Key: (fileDescriptor: CInt, interest: Readiness)], until deadline: MonotonicTime?
) throws(SystemError) -> ReadyDescriptors<Key> {
    let keys = Array(requests.keys)
    let ready = try poll(Array(requests.values), until: deadline)
    return ReadyDescriptors(
        Dictionary(uniqueKeysWithValues: zip(keys, ready).filter { !$0.1.isEmpty }))
}

/// Waits until a descriptor of a list is ready or a time has come (poll(2)).
///
/// - Parameters:
///   - requests: What to wait for. A negative descriptor is passed over.
///   - deadline: When to stop waiting; nil for never. If it is over, the call looks and does not wait.
/// - Returns: What each descriptor is ready for, in the order of the list; all empty if the time
///   came first.
/// - Throws: The kernel's reason for refusing to wait.
package func poll(
    _ requests: [(fileDescriptor: CInt, interest: Readiness)], until deadline: MonotonicTime?
) throws(SystemError) -> [Readiness] {
    try poll(requests) { waitMilliseconds(until: deadline) }
}

/// Waits until a descriptor of a list is ready or milliseconds are over; negative for ever.
package func poll(
    _ requests: [(fileDescriptor: CInt, interest: Readiness)], milliseconds: CInt
) throws(SystemError) -> [Readiness] {
    try poll(requests) { milliseconds }
}

private func poll(
    _ requests: [(fileDescriptor: CInt, interest: Readiness)], milliseconds: () -> CInt
) throws(SystemError) -> [Readiness] {
    var entries = requests.map {
        pollfd(fd: $0.fileDescriptor, events: $0.interest.rawValue, revents: 0)
    }
    try call("poll") { unsafe Glibc.poll(&entries, nfds_t(entries.count), milliseconds()) }
    return entries.map { Readiness(rawValue: $0.revents) }
}

/// The milliseconds until a time, as system calls take them: negative, for ever, if there is none.
func waitMilliseconds(until deadline: MonotonicTime?) -> CInt {
    guard let deadline, deadline != .distantFuture else { return -1 }
    return (deadline - .now).waitMilliseconds
}

/// Reads and drops what a socket has received, up to 64 KiB.
///
/// The bound keeps a peer that sends as fast as it can from keeping the caller.
///
/// - Returns: False if the peer has closed the connection, or it has failed.
package func discardReceived(from socket: CInt) throws(SystemError) -> Bool {
    var bytes = [UInt8](repeating: 0, count: 16 << 10)
    for _ in 0..<4 {
        // Safety: the call writes at most as many bytes as the array has.
        let count = unsafe recv(socket, &bytes, bytes.count, CInt(MSG_DONTWAIT))
        if count == 0 { return false }
        if count < 0 {
            let errno = Errno.current
            if errno == .wouldBlock { return true }
            guard errno == .interrupted else { return false }
        }
    }
    return true
}
