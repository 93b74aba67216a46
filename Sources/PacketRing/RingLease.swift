import CLinux
import Linux

/// A hold on a ring's socket. The kernel lets go of the socket, which takes it some 15 ms, when the
/// ring and all its leases are gone; so whoever must not wait closes the ring first.
package struct RingLease: ~Copyable, Sendable {
    private let socket: Descriptor

    init(_ socket: borrowing Descriptor) throws(SystemError) {
        let fileDescriptor = socket.fileDescriptor
        self.socket = try Descriptor("dup of a ring's socket") {
            clinux_dup_cloexec(fileDescriptor)
        }
    }
}
