import CLinux
import Glibc

/// A connection over TCP. Reads and writes never wait; `poll` does.
package struct Connection: ~Copyable, Sendable {
    package let descriptor: Descriptor
    package let local: SocketAddress
    package let peer: SocketAddress

    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    init(_ descriptor: consuming Descriptor) throws(SystemError) {
        let local = try descriptor.localAddress()
        let peer = try unsafe descriptor.address("getpeername") { unsafe getpeername($0, $1, $2) }
        self.descriptor = descriptor
        self.local = local
        self.peer = peer
    }

    /// Connects within so many milliseconds, or throws `ETIMEDOUT`. Gives up with `ECANCELED` as
    /// soon as `cancel` is raised.
    package init(
        to address: SocketAddress, milliseconds: CInt, cancel: borrowing Event
    ) throws(SystemError) {
        let pending = try PendingConnection(to: address)
        let ready = try poll(
            [(pending.fileDescriptor, .writable), (cancel.fileDescriptor, .readable)],
            milliseconds: milliseconds)
        guard !ready[1].contains(.readable) else { throw SystemError("connect", ECANCELED) }
        guard !ready[0].isEmpty else { throw SystemError("connect", ETIMEDOUT) }
        self = try pending.finish()
    }

    /// Has the kernel find out that the peer is gone: by asking it every 10 s after 30 s of
    /// silence, and by giving up on what it does not acknowledge for a minute (tcp(7)).
    package func watchPeer() throws(SystemError) {
        try descriptor.set(SO_KEEPALIVE, of: SOL_SOCKET, to: CInt(1), "SO_KEEPALIVE")
        let level = CInt(IPPROTO_TCP)
        try descriptor.set(TCP_KEEPIDLE, of: level, to: CInt(30), "TCP_KEEPIDLE")
        try descriptor.set(TCP_KEEPINTVL, of: level, to: CInt(10), "TCP_KEEPINTVL")
        try descriptor.set(TCP_KEEPCNT, of: level, to: CInt(3), "TCP_KEEPCNT")
        try descriptor.set(
            TCP_USER_TIMEOUT, of: level, to: CUnsignedInt(60_000), "TCP_USER_TIMEOUT")
    }

    /// Sends small messages at once instead of waiting for more.
    package func sendAtOnce() throws(SystemError) {
        try descriptor.set(TCP_NODELAY, of: CInt(IPPROTO_TCP), to: CInt(1), "TCP_NODELAY")
    }

    /// Hands over the descriptor to somebody who needs no more than that.
    package consuming func intoDescriptor() -> Descriptor { descriptor }

    /// Tells the peer that nothing more comes; it can still be listened to.
    package func endSending() {
        // If it fails the peer is gone, and need not be told.
        _ = shutdown(fileDescriptor, CInt(SHUT_WR))
    }

    /// The next byte, which stays to be received. Nil if there is none, also at the end.
    package func peek() -> UInt8? {
        var byte: UInt8 = 0
        // Safety: the call writes one byte at most.
        let count = unsafe recv(fileDescriptor, &byte, 1, CInt(MSG_DONTWAIT | MSG_PEEK))
        return count == 1 ? byte : nil
    }

    /// Reads what has arrived into the buffer. Nil if nothing has; 0 at the end of the stream.
    package func receive(into buffer: inout [UInt8]) throws(SystemError) -> Int? {
        while true {
            // Safety: the call writes at most as many bytes as the buffer has.
            let count = unsafe recv(fileDescriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT))
            if count >= 0 { return count }
            if errno == EAGAIN { return nil }
            guard errno == EINTR else { throw SystemError("recv") }
        }
    }

    /// Sends as much as the socket takes, and answers how many bytes that was.
    package func send(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        while true {
            // Safety: the call reads only the bytes of the slice.
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(
                    fileDescriptor, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if count >= 0 { return count }
            if errno == EAGAIN { return 0 }
            guard errno == EINTR else { throw SystemError("send") }
        }
    }
}

/// A socket that waits for connections.
package struct Listener: ~Copyable, Sendable {
    private let descriptor: Descriptor
    package let local: SocketAddress

    /// Listens; port 0 takes a free one. The IPv6 wildcard takes IPv4 connections, too.
    package init(at address: SocketAddress, backlog: CInt = 128) throws(SystemError) {
        let descriptor = try Descriptor.stream(address.domain)
        try descriptor.set(SO_REUSEADDR, of: SOL_SOCKET, to: CInt(1), "SO_REUSEADDR")
        if address.domain == AF_INET6 {
            try descriptor.set(IPV6_V6ONLY, of: CInt(IPPROTO_IPV6), to: CInt(0), "IPV6_V6ONLY")
        }
        try call("bind \(address)") {
            unsafe address.withKernelForm { unsafe bind(descriptor.fileDescriptor, $0, $1) }
        }
        try call("listen") { listen(descriptor.fileDescriptor, backlog) }
        let local = try descriptor.localAddress()
        self.descriptor = descriptor
        self.local = local
    }

    /// Listens at the first of some ports that is free.
    package init(
        at address: SocketAddress, ports: ClosedRange<UInt16>, backlog: CInt
    ) throws(SystemError) {
        for port in ports.dropLast() {
            do throws(SystemError) {
                self = try Self(at: address.with(port: port), backlog: backlog)
                return
            } catch {
                guard error.code == EADDRINUSE else { throw error }
            }
        }
        self = try Self(at: address.with(port: ports.upperBound), backlog: backlog)
    }

    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Hands over the descriptor to somebody who needs no more than that.
    package consuming func intoDescriptor() -> Descriptor { descriptor }

    /// The next connection, or nil if none is waiting or it is gone again.
    package func accept() throws(SystemError) -> Connection? {
        let fileDescriptor = clinux_accept_nonblocking(descriptor.fileDescriptor, nil, nil)
        guard fileDescriptor >= 0 else {
            switch errno {
            case EAGAIN, ECONNABORTED, EINTR, EPROTO: return nil
            default: throw SystemError("accept")
            }
        }
        let descriptor = try Descriptor("accept") { fileDescriptor }
        return try? Connection(descriptor)
    }
}

extension Descriptor {
    static func stream(_ domain: CInt) throws(SystemError) -> Descriptor {
        try socket(domain, SOCK_STREAM)
    }

    static func datagrams(_ domain: CInt) throws(SystemError) -> Descriptor {
        try socket(domain, SOCK_DGRAM)
    }

    private static func socket(
        _ domain: CInt, _ kind: __socket_type
    ) throws(SystemError) -> Descriptor {
        try Descriptor("socket") {
            let kind = kind.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
            return Glibc.socket(domain, CInt(kind), 0)
        }
    }

    /// The address that a socket is bound to.
    func localAddress() throws(SystemError) -> SocketAddress {
        try unsafe address("getsockname") { unsafe getsockname($0, $1, $2) }
    }

    func address(
        _ operation: String,
        _ ask: (CInt, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> CInt
    ) throws(SystemError) -> SocketAddress {
        // Safety: the kernel writes no more than the storage's length, and every socket address
        // fits into it.
        var storage = sockaddr_storage()
        var byteCount = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var address: SocketAddress?
        let result = unsafe withUnsafeMutableBytes(of: &storage) { bytes in
            let pointer = unsafe bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
            let result = unsafe ask(fileDescriptor, pointer, &byteCount)
            let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(bytes))
            address = SocketAddress(kernelForm: span.extracting(first: Int(byteCount)))
            return result
        }
        guard result == 0 else { throw SystemError(operation) }
        guard let address else { throw SystemError(operation, EAFNOSUPPORT) }
        return address
    }
}
