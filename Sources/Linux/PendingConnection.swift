import Glibc

/// A TCP connection that is being made: writable when it is there or has failed.
package struct PendingConnection: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The address that is connected to.
    package let peer: SocketAddress

    /// The descriptor, for a poll set.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Begins to connect, and returns at once.
    package init(to address: SocketAddress) throws(SystemError) {
        let descriptor = try Descriptor.stream(address.domain)
        let result = unsafe address.withKernelForm {
            unsafe connect(descriptor.fileDescriptor, $0, $1)
        }
        guard result == 0 || Errno.current == .nowInProgress else {
            throw SystemError("connect to \(address)")
        }
        self.descriptor = descriptor
        peer = address
    }

    /// Makes the connection of this, which must be writable.
    ///
    /// - Throws: What prevented the connection.
    package consuming func finish() throws(SystemError) -> Connection {
        if let errno = try descriptor.takePendingError() {
            throw SystemError("connect to \(peer)", errno)
        }
        return try Connection(descriptor)
    }
}
