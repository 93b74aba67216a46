import Addressing
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
        try self.init(over: Descriptor.stream(address.domain), to: address)
    }

    fileprivate init(
        over descriptor: consuming Descriptor, to address: SocketAddress
    ) throws(SystemError) {
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

/// A TCP socket with an address of its own that is not connected yet.
///
/// The kernel gives its port to no other connection, wherever that goes.
package struct BoundSocket: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The address of this end.
    package let local: SocketAddress

    /// Binds a socket to an address; port 0 takes a free one.
    package init(at address: SocketAddress) throws(SystemError) {
        let descriptor = try Descriptor.stream(address.domain)
        try call("bind \(address)") {
            unsafe address.withKernelForm { unsafe bind(descriptor.fileDescriptor, $0, $1) }
        }
        let local = try descriptor.localAddress()
        self.descriptor = descriptor
        self.local = local
    }

    /// Binds a socket for connections to an address, to a port that is free.
    package init(toReach address: SocketAddress) throws(SystemError) {
        let wildcard =
            address.address.family == .ipv4 ? IPAddress(ipv4: 0) : IPAddress(ipv6High: 0, low: 0)
        try self.init(at: SocketAddress(wildcard, port: 0))
    }

    /// Begins to connect, and returns at once.
    package consuming func connect(
        to address: SocketAddress
    ) throws(SystemError) -> PendingConnection {
        try PendingConnection(over: descriptor, to: address)
    }
}
