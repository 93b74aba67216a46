import CLinux
import Glibc
package import Time

/// A TCP connection, whose reads and writes never wait.
package struct Connection: ~Copyable, Sendable {
    package let descriptor: Descriptor
    /// The address of this end.
    package let local: SocketAddress
    /// The address of the other end.
    package let peer: SocketAddress

    /// The descriptor, for a poll set.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    init(_ descriptor: consuming Descriptor) throws(SystemError) {
        let local = try descriptor.localAddress()
        let peer = try unsafe descriptor.address("getpeername") { unsafe getpeername($0, $1, $2) }
        self.descriptor = descriptor
        self.local = local
        self.peer = peer
    }

    /// Connects, and waits until that has happened.
    ///
    /// - Throws: `ETIMEDOUT` after the deadline, and `ECANCELED` as soon as `cancel` is raised.
    package init(
        to address: SocketAddress, until deadline: MonotonicTime, cancel: borrowing Event
    ) throws(SystemError) {
        let pending = try PendingConnection(to: address)
        let ready = try poll(
            [
                Awaited.connection: (pending.fileDescriptor, .writable),
                .cancel: (cancel.fileDescriptor, .readable),
            ], until: deadline)
        guard ready[.cancel].isEmpty else { throw SystemError("connect", .canceled) }
        guard !ready[.connection].isEmpty else { throw SystemError("connect", .timedOut) }
        self = try pending.finish()
    }

    private enum Awaited { case connection, cancel }

    /// The time after which the kernel gives up a peer that acknowledges nothing or reads nothing.
    package static let silenceMax = Duration.seconds(60)

    /// Whether an error of an established connection means that the kernel has given up the peer.
    ///
    /// At the end of that time the kernel reports why nothing arrived, if the network has told
    /// (`tcp_write_err` in net/ipv4/tcp_timer.c).
    package static func isGivenUp(_ errno: Errno) -> Bool {
        [.timedOut, .hostUnreachable, .networkUnreachable].contains(errno)
    }

    /// Has the kernel find out when the peer is gone (tcp(7)).
    ///
    /// After 30 s of silence it probes the peer every 10 s. It gives up after a minute without an
    /// acknowledgement.
    package func watchPeer() throws(SystemError) {
        try descriptor.set(SO_KEEPALIVE, of: SOL_SOCKET, to: CInt(1), "SO_KEEPALIVE")
        let level = CInt(IPPROTO_TCP)
        try descriptor.set(TCP_KEEPIDLE, of: level, to: CInt(30), "TCP_KEEPIDLE")
        try descriptor.set(TCP_KEEPINTVL, of: level, to: CInt(10), "TCP_KEEPINTVL")
        try descriptor.set(TCP_KEEPCNT, of: level, to: CInt(3), "TCP_KEEPCNT")
        try descriptor.set(
            TCP_USER_TIMEOUT, of: level, to: CUnsignedInt(Self.silenceMax.waitMilliseconds),
            "TCP_USER_TIMEOUT")
    }

    /// Has the kernel send small messages at once instead of waiting for more.
    package func sendAtOnce() throws(SystemError) {
        try descriptor.set(TCP_NODELAY, of: CInt(IPPROTO_TCP), to: CInt(1), "TCP_NODELAY")
    }

    /// Gives up the descriptor to an owner who needs no more than that.
    package consuming func intoDescriptor() -> Descriptor { descriptor }

    /// Ends the stream to the peer, which can still send.
    package func endSending() {
        // If it fails the peer is gone, and need not be told.
        _ = shutdown(fileDescriptor, CInt(SHUT_WR))
    }

    /// The next bytes, which stay to be received: nil if none has arrived.
    ///
    /// Empty if the stream has ended, or has failed, which `receive` says.
    package func peek(byteCountMax: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: byteCountMax)
        // Safety: the call writes at most as many bytes as the array has.
        let count = unsafe recv(
            fileDescriptor, &bytes, byteCountMax, CInt(MSG_DONTWAIT | MSG_PEEK))
        if count < 0, Errno.current == .wouldBlock { return nil }
        return Array(bytes.prefix(max(0, count)))
    }

    /// Reads what has arrived into the buffer.
    ///
    /// - Returns: The number of bytes: nil if none has arrived, 0 at the end of the stream.
    package func receive(into buffer: inout [UInt8]) throws(SystemError) -> Int? {
        while true {
            // Safety: the call writes at most as many bytes as the buffer has.
            let count = unsafe recv(fileDescriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT))
            if count >= 0 { return count }
            let errno = Errno.current
            if errno == .wouldBlock { return nil }
            guard errno == .interrupted else { throw SystemError("recv", errno) }
        }
    }

    /// Sends as much as the socket takes.
    ///
    /// - Returns: The number of bytes sent, which may be 0.
    package func send(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        while true {
            // Safety: the call reads only the bytes of the slice.
            let count = unsafe bytes.withUnsafeBytes {
                unsafe Glibc.send(
                    fileDescriptor, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if count >= 0 { return count }
            let errno = Errno.current
            if errno == .wouldBlock { return 0 }
            guard errno == .interrupted else { throw SystemError("send", errno) }
        }
    }
}

/// A TCP socket that accepts connections.
package struct Listener: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The address that the socket is bound to.
    package let local: SocketAddress

    /// Listens at an address; port 0 takes a free one.
    ///
    /// The IPv6 wildcard accepts IPv4 connections as well.
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

    /// Listens at the first free port of a range.
    package init(
        at address: SocketAddress, ports: ClosedRange<UInt16>, backlog: CInt
    ) throws(SystemError) {
        for port in ports.dropLast() {
            do throws(SystemError) {
                self = try Self(at: address.with(port: port), backlog: backlog)
                return
            } catch {
                guard error.errno == .addressInUse else { throw error }
            }
        }
        self = try Self(at: address.with(port: ports.upperBound), backlog: backlog)
    }

    /// The descriptor, for a poll set: readable when a connection waits.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Gives up the descriptor to an owner who needs no more than that.
    package consuming func intoDescriptor() -> Descriptor { descriptor }

    /// Accepts a connection, or returns nil if none waits or it is gone again.
    package func accept() throws(SystemError) -> Connection? {
        let fileDescriptor = clinux_accept_nonblocking(descriptor.fileDescriptor, nil, nil)
        guard fileDescriptor >= 0 else {
            switch Errno.current {
            case .wouldBlock, .connectionAbort, .interrupted, .protocolError: return nil
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
        guard let address else { throw SystemError(operation, .addressFamilyNotSupported) }
        return address
    }
}
