import Glibc

/// A connection over TCP on its way: writable when it is there or has failed. `poll` waits for it.
package struct PendingConnection: ~Copyable, Sendable {
    private let descriptor: Descriptor
    package let peer: SocketAddress

    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Begins to connect, and returns at once.
    package init(to address: SocketAddress) throws(SystemError) {
        let descriptor = try Descriptor.stream(address.domain)
        let result = unsafe address.withKernelForm {
            unsafe connect(descriptor.fileDescriptor, $0, $1)
        }
        guard result == 0 || errno == EINPROGRESS else {
            throw SystemError("connect to \(address)")
        }
        self.descriptor = descriptor
        peer = address
    }

    /// The connection, once this is writable; or what prevented it.
    package consuming func finish() throws(SystemError) -> Connection {
        let error = try descriptor.takePendingError()
        guard error == 0 else { throw SystemError("connect to \(peer)", error) }
        return try Connection(descriptor)
    }
}
