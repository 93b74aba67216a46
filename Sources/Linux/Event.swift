import CLinux
import Glibc

/// A flag that one thread raises and others wait for beside their descriptors (eventfd(2)).
package struct Event: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// Creates an event that is not raised.
    package init() throws(SystemError) {
        descriptor = try Descriptor("eventfd") {
            eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
        }
    }

    /// The descriptor, for a poll set: readable from `raise` until `lower`.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Raises the event, and wakes who waits for it.
    package func raise() {
        Self.raise(descriptor.fileDescriptor)
    }

    /// Raises an event by its descriptor, which its owner must keep open.
    package static func raise(_ fileDescriptor: CInt) {
        // It can fail only when the counter is about to overflow, and then it is raised already.
        _ = eventfd_write(fileDescriptor, 1)
    }

    /// Lowers the event, however often it was raised.
    package func lower() {
        var count: eventfd_t = 0
        // Safety: the call writes one number.
        unsafe _ = eventfd_read(descriptor.fileDescriptor, &count)
    }
}
