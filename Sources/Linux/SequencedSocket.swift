import CLinux
import Glibc
package import Time

/// A connection on this node that keeps messages apart and can carry descriptors (SOCK_SEQPACKET).
package struct SequencedSocket: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// The longest message that is received; a longer one counts as cut.
    package static let messageByteCountMax = 256

    /// The descriptor, for a poll set.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Takes over a socket that is connected already.
    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// Connects to the listener at a path, without waiting.
    ///
    /// - Throws: `ENOENT` or `ECONNREFUSED` if nobody listens there, and `EAGAIN` if too many wait.
    package init(to path: String) throws(SystemError) {
        let descriptor = try Descriptor.sequenced()
        try call("connect \(path)") {
            unsafe withLocalAddress(path) { unsafe connect(descriptor.fileDescriptor, $0, $1) }
        }
        self.descriptor = descriptor
    }

    /// Connects to the listener with a name in the network namespace, without waiting (unix(7), abstract).
    ///
    /// - Throws: `ECONNREFUSED` if nobody listens there, and `EAGAIN` if too many wait.
    package init(toName name: String) throws(SystemError) {
        let descriptor = try Descriptor.sequenced()
        try call("connect @\(name)") {
            unsafe withLocalAddress(name, isAbstract: true) {
                unsafe connect(descriptor.fileDescriptor, $0, $1)
            }
        }
        self.descriptor = descriptor
    }

    /// A message with the descriptors that came with it.
    package struct Message: ~Copyable {
        /// The bytes; none if the peer has closed the connection.
        package let bytes: [UInt8]
        /// Whether the kernel has left out bytes or descriptors, for which there was no room.
        package let isCut: Bool
        /// The number of descriptors that came with it.
        package let descriptorCount: Int
        /// The first descriptor; the others are closed.
        package var descriptor: Descriptor?
    }

    /// Sends a message, and duplicates of descriptors with it, at most four.
    ///
    /// It does not wait.
    ///
    /// - Throws: `EAGAIN` if the peer does not read its messages, `EPIPE` if it is gone.
    package func send(_ bytes: [UInt8], passing passed: [CInt] = []) throws(SystemError) {
        // Safety: the call reads the arrays, which stay put.
        try call("sendmsg") {
            unsafe clinux_send_with_descriptors(
                fileDescriptor, bytes, bytes.count, passed, UInt32(passed.count))
        }
    }

    /// Takes the next message without waiting; nil if there is none.
    package func receive() throws(SystemError) -> Message? {
        var bytes = [UInt8](repeating: 0, count: Self.messageByteCountMax)
        var passed = [CInt](repeating: -1, count: Int(CLINUX_PASSED_COUNT_MAX))
        var passedCount: UInt32 = 0
        var isCut: CInt = 0
        var count = 0
        repeat {
            // Safety: the call writes no more bytes and descriptors than the arrays have room for.
            count = unsafe clinux_receive_with_descriptors(
                fileDescriptor, &bytes, bytes.count, &passed, &passedCount, &isCut)
        } while count < 0 && Errno.current == .interrupted
        guard count >= 0 else {
            let errno = Errno.current
            if errno == .wouldBlock { return nil }
            throw SystemError("recvmsg", errno)
        }
        var message = Message(
            bytes: Array(bytes.prefix(count)), isCut: isCut != 0, descriptorCount: Int(passedCount))
        for (index, fileDescriptor) in passed.prefix(Int(passedCount)).enumerated() {
            let owned = try Descriptor("recvmsg") { fileDescriptor }
            if index == 0 { message.descriptor = consume owned }
        }
        return message
    }

    /// Waits until a message can be taken or the connection has ended.
    ///
    /// - Throws: `ETIMEDOUT` at the deadline.
    package func awaitMessage(until deadline: MonotonicTime) throws(SystemError) {
        let ready = try poll([(fileDescriptor, .readable)], until: deadline)
        guard !ready[0].isEmpty else { throw SystemError("recvmsg", .timedOut) }
    }

    /// The user id of the process at the other end, when it connected.
    package func peerUser() throws(SystemError) -> UInt32 {
        UInt32(
            truncatingIfNeeded: try call("getsockopt SO_PEERCRED") {
                clinux_peer_user(fileDescriptor)
            })
    }
}

/// A socket at a path that accepts connections from processes on this node (SOCK_SEQPACKET).
package struct SequencedListener: ~Copyable, Sendable {
    private let descriptor: Descriptor

    /// The descriptor, for a poll set: readable when a connection waits.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// The most connections that wait to be accepted.
    private static let backlog: CInt = 8

    /// Listens at a path, which only the owner's processes can connect to.
    ///
    /// A socket that a process before has left there is replaced; any other file stays. The socket
    /// stays when the listener closes, and then refuses connections.
    ///
    /// - Throws: `EADDRINUSE` if the path is that of another kind of file, or a process listens there.
    package init(at path: String) throws(SystemError) {
        let descriptor = try Descriptor.sequenced()
        guard (try? SequencedSocket(to: path)) == nil else {
            throw SystemError("listen \(path)", .addressInUse)
        }
        try Self.removeSocket(path)
        // bind(2) makes the file with the mode of the socket, less umask.
        try call("fchmod") { fchmod(descriptor.fileDescriptor, 0o600) }
        try call("bind \(path)") {
            unsafe withLocalAddress(path) { unsafe bind(descriptor.fileDescriptor, $0, $1) }
        }
        try call("listen \(path)") { listen(descriptor.fileDescriptor, Self.backlog) }
        self.descriptor = descriptor
    }

    /// Listens at a name in the network namespace, which goes with the listener (unix(7), abstract).
    ///
    /// Every process of the namespace can connect: who it is has to be asked.
    ///
    /// - Throws: `EADDRINUSE` if a process listens there.
    package init(atName name: String) throws(SystemError) {
        let descriptor = try Descriptor.sequenced()
        try call("bind @\(name)") {
            unsafe withLocalAddress(name, isAbstract: true) {
                unsafe bind(descriptor.fileDescriptor, $0, $1)
            }
        }
        try call("listen @\(name)") { listen(descriptor.fileDescriptor, Self.backlog) }
        self.descriptor = descriptor
    }

    /// Accepts a connection, or returns nil if none waits or it is gone again.
    package func accept() throws(SystemError) -> SequencedSocket? {
        let fileDescriptor = clinux_accept_nonblocking(descriptor.fileDescriptor, nil, nil)
        guard fileDescriptor >= 0 else {
            switch Errno.current {
            case .wouldBlock, .connectionAbort, .interrupted, .protocolError: return nil
            default: throw SystemError("accept")
            }
        }
        return SequencedSocket(try Descriptor("accept") { fileDescriptor })
    }

    private static func removeSocket(_ path: String) throws(SystemError) {
        var status = stat()
        // Safety: the call fills `status` and reads the path up to its end.
        guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else { return }
        try removeFile(path)
    }
}

/// What `SOCK_SEQPACKET` is opened with.
private let sequencedType =
    SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue

extension Descriptor {
    fileprivate static func sequenced() throws(SystemError) -> Descriptor {
        try Descriptor("socket AF_UNIX") { Glibc.socket(AF_UNIX, CInt(sequencedType), 0) }
    }
}

/// Calls `body` with the address of a socket at a path; -1 and `ENAMETOOLONG` if the path is too long.
///
/// An abstract address is a name behind a zero, and ends with it.
private func withLocalAddress(
    _ path: String, isAbstract: Bool = false, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
) -> CInt {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = isAbstract ? [0] + Array(path.utf8) : Array(path.utf8)
    // Safety: the path is copied only if it fits with a zero behind it; the kernel reads the whole.
    let fits = unsafe withUnsafeMutableBytes(of: &address.sun_path) { target in
        guard bytes.count < target.count else { return false }
        unsafe target.copyBytes(from: bytes)
        return true
    }
    guard fits else {
        errno = ENAMETOOLONG
        return -1
    }
    let nameOffset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 0
    return unsafe withUnsafeBytes(of: &address) { whole in
        unsafe body(
            whole.baseAddress!.assumingMemoryBound(to: sockaddr.self),
            socklen_t(isAbstract ? nameOffset + bytes.count : whole.count))
    }
}
