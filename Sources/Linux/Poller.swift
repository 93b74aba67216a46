import CLinux
import Glibc
package import Time

/// A caller's name for a descriptor in a `Poller`, which the kernel keeps as a number.
///
/// An enum with raw values of `UInt64` conforms by declaring it.
package protocol PollerKey: Sendable {
    /// The key that a number stands for; it is one that `pollerKey` has returned.
    init(pollerKey: UInt64)

    /// The number that stands for the key.
    var pollerKey: UInt64 { get }
}

extension PollerKey where Self: RawRepresentable, RawValue == UInt64 {
    /// The case with this raw value.
    package init(pollerKey: UInt64) {
        guard let key = Self(rawValue: pollerKey) else {
            preconditionFailure("the poller was given no such key")
        }
        self = key
    }

    /// The raw value.
    package var pollerKey: UInt64 { rawValue }
}

extension UInt64: PollerKey {
    /// The number itself.
    package init(pollerKey: UInt64) { self = pollerKey }

    /// The number itself.
    package var pollerKey: UInt64 { self }
}

/// A set of descriptors that are waited for together (epoll(7)), each known by a key.
@safe
package struct Poller<Key: PollerKey>: ~Copyable {
    private let descriptor: Descriptor
    private var events: [epoll_event]

    /// Creates an empty set.
    package init() throws(SystemError) {
        descriptor = try Descriptor("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC)) }
        unsafe events = Array(repeating: epoll_event(), count: pollerEventCountMax)
    }

    /// The set as one descriptor, for another set: readable while a descriptor in this one is ready.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Adds a descriptor, which must stay open until it is removed.
    package func add(
        _ fileDescriptor: CInt, as key: Key, for interest: Readiness = .readable
    ) throws(SystemError) {
        try control(EPOLL_CTL_ADD, fileDescriptor, interest, key.pollerKey)
    }

    /// Changes what a descriptor in the set is waited for.
    package func setInterest(
        of fileDescriptor: CInt, as key: Key, to interest: Readiness
    ) throws(SystemError) {
        try control(EPOLL_CTL_MOD, fileDescriptor, interest, key.pollerKey)
    }

    /// Removes a descriptor.
    package func remove(_ fileDescriptor: CInt) throws(SystemError) {
        try control(EPOLL_CTL_DEL, fileDescriptor, [], 0)
    }

    private func control(
        _ operation: CInt, _ fileDescriptor: CInt, _ interest: Readiness, _ key: UInt64
    ) throws(SystemError) {
        var bits: UInt32 = 0
        if interest.contains(.readable) { bits |= EPOLLIN.rawValue }
        if interest.contains(.writable) { bits |= EPOLLOUT.rawValue }
        // Safety: the kernel copies the event during the call.
        var event = unsafe epoll_event(events: bits, data: epoll_data_t(u64: key))
        try call("epoll_ctl") {
            unsafe epoll_ctl(descriptor.fileDescriptor, operation, fileDescriptor, &event)
        }
    }

    /// Waits until something is ready or a time has come; nil waits for ever.
    ///
    /// - Returns: The number of ready descriptors, at most 64; `key(at:)` says which they are. The
    ///   next wait reports the others.
    package mutating func wait(until deadline: MonotonicTime?) throws(SystemError) -> Int {
        try wait { waitMilliseconds(until: deadline) }
    }

    /// Waits until something is ready or milliseconds are over; a negative number waits for ever.
    package mutating func wait(milliseconds: CInt) throws(SystemError) -> Int {
        try wait { milliseconds }
    }

    private mutating func wait(_ milliseconds: () -> CInt) throws(SystemError) -> Int {
        // Safety: the kernel writes at most as many events as there is room for.
        let count = try call("epoll_wait") {
            unsafe epoll_wait(
                descriptor.fileDescriptor, &events, CInt(pollerEventCountMax), milliseconds())
        }
        return Int(count)
    }

    /// Whether a number of ready descriptors is less than a wait can report, so that these are all.
    package static func isAll(_ count: Int) -> Bool { count < pollerEventCountMax }

    /// The key of a descriptor that the last wait has found ready.
    package func key(at index: Int) -> Key {
        // Safety: `control` has put the key into this member of the union.
        Key(pollerKey: unsafe events[index].data.u64)
    }

    /// Whether a descriptor that the last wait has found ready has failed, or its peer is gone.
    package func hasFailed(at index: Int) -> Bool {
        // Safety: plain integers, whatever they are.
        unsafe events[index].events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
    }
}

/// The most descriptors that one wait reports.
private let pollerEventCountMax = 64
