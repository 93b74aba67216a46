import CLinux
import Glibc

/// A flag that one thread raises and others wait for beside their descriptors (eventfd(2)).
package struct Event: ~Copyable, Sendable {
    private let descriptor: Descriptor

    package init() throws(SystemError) {
        descriptor = try Descriptor("eventfd") {
            eventfd(0, CInt(EFD_CLOEXEC | EFD_NONBLOCK))
        }
    }

    /// For a poll set: readable from `raise` until `lower`.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    package func raise() {
        Self.raise(descriptor.fileDescriptor)
    }

    /// Raises an event by its number: for one whose owner outlives whoever raises it.
    package static func raise(_ fileDescriptor: CInt) {
        // It can fail only when the counter is about to overflow, and then it is raised already.
        _ = eventfd_write(fileDescriptor, 1)
    }

    package func lower() {
        var count: eventfd_t = 0
        unsafe _ = eventfd_read(descriptor.fileDescriptor, &count)
    }
}
