package import Time

import CLinux
import Glibc

/// Waits for many descriptors at once (epoll(7)); each is known by a number of the caller's.
@safe
package struct Poller: ~Copyable {
    private let descriptor: Descriptor
    private var events: [epoll_event]

    /// How many descriptors one wait reports at most; the rest come with the next one.
    private static let eventCountMax = 64

    package init() throws(SystemError) {
        descriptor = try Descriptor("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC)) }
        unsafe events = Array(repeating: epoll_event(), count: Self.eventCountMax)
    }

    /// Waits for a descriptor to become readable, from now on and as long as it is open.
    package func add(_ fileDescriptor: CInt, as key: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, fileDescriptor, EPOLLIN.rawValue, key)
    }

    /// Waits for a descriptor to become writable, too, or no longer.
    package func wait(
        for fileDescriptor: CInt, as key: UInt64, toBeWritable isWanted: Bool
    ) throws(SystemError) {
        let interest = EPOLLIN.rawValue | (isWanted ? EPOLLOUT.rawValue : 0)
        try control(EPOLL_CTL_MOD, fileDescriptor, interest, key)
    }

    package func remove(_ fileDescriptor: CInt) throws(SystemError) {
        try control(EPOLL_CTL_DEL, fileDescriptor, 0, 0)
    }

    private func control(
        _ operation: CInt, _ fileDescriptor: CInt, _ interest: UInt32, _ key: UInt64
    ) throws(SystemError) {
        // Safety: the kernel copies the event during the call.
        var event = unsafe epoll_event(events: interest, data: epoll_data_t(u64: key))
        try call("epoll_ctl") {
            unsafe epoll_ctl(descriptor.fileDescriptor, operation, fileDescriptor, &event)
        }
    }

    /// Waits until something is ready, or the time runs out; negative milliseconds wait for ever.
    /// Answers how many descriptors are ready; `key(at:)` says which.
    package mutating func wait(milliseconds: CInt) throws(SystemError) -> Int {
        // Safety: the kernel writes at most `eventCountMax` events, which is what there is room for.
        let count = try call("epoll_wait") {
            unsafe epoll_wait(
                descriptor.fileDescriptor, &events, CInt(Self.eventCountMax), milliseconds)
        }
        return Int(count)
    }

    /// Waits until something is ready, or a time has come; nil waits for ever.
    ///
    /// - Returns: How many descriptors are ready; `key(at:)` says which.
    package mutating func wait(until deadline: MonotonicTime?) throws(SystemError) -> Int {
        try wait(milliseconds: waitMilliseconds(until: deadline))
    }

    /// The key of a descriptor that the last wait found ready.
    package func key(at index: Int) -> UInt64 {
        // Safety: the key was put into this member of the union by `control`.
        unsafe events[index].data.u64
    }

    /// Whether that descriptor has failed, or its peer has gone.
    package func hasFailed(at index: Int) -> Bool {
        // Safety: plain integers, whatever they are.
        unsafe events[index].events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
    }
}
