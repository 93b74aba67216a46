import Addressing
import CLinux
import CMnl
import Glibc
package import Linux
import Packets
import Time

/// A netlink socket with one owner, which closes when the owner lets it go.
@safe
package struct NetlinkSocket: ~Copyable {
    private let socket: OpaquePointer
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: Self.messageByteCountMax)

    /// The largest part of a dump that the kernel sends at once (libmnl's MNL_SOCKET_DUMP_SIZE).
    private static let messageByteCountMax = 32 << 10
    /// The most messages that are read at once: a flood of events must not keep the reader.
    private static let eventCountMax = 8192
    /// The most tries at a dump, which is repeated if something changed while it was made.
    private static let dumpCountMax = 8
    /// The longest wait for an answer.
    ///
    /// The kernel answers at once, or not at all.
    private static let answerTimeMax = Duration.seconds(5)

    /// A part of the kernel that is asked over netlink.
    package enum Bus: Sendable {
        /// Links, addresses and routes.
        case routing
        /// Connection tracking.
        case netfilter
    }

    /// Opens a socket on a bus, for requests.
    package init(_ bus: Bus = .routing) throws(SystemError) {
        let protocolNumber = bus == .routing ? NETLINK_ROUTE : NETLINK_NETFILTER
        let flags = CInt(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        guard let socket = unsafe mnl_socket_open2(protocolNumber, flags)
        else { throw SystemError("socket AF_NETLINK") }
        guard unsafe mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 else {
            let error = SystemError("bind AF_NETLINK")
            unsafe _ = mnl_socket_close(socket)
            throw error
        }
        // With strict checking the kernel refuses what it does not understand of a request,
        // instead of answering another question (since Linux 4.20).
        var isStrict: CInt = 1
        unsafe _ = mnl_socket_setsockopt(
            socket, NETLINK_GET_STRICT_CHK, &isStrict, socklen_t(MemoryLayout<CInt>.size))
        unsafe self.socket = socket
    }

    deinit {
        unsafe _ = mnl_socket_close(socket)
    }

    /// The descriptor, for a poll set and for socket options that libmnl does not know.
    var fileDescriptor: CInt { unsafe mnl_socket_get_fd(socket) }

    /// A request: its fixed part, then attributes.
    struct Request<Header: BitwiseCopyable> {
        let type: Int
        /// The name in errors.
        let name: String
        let header: Header
        var attributes: [NetlinkAttribute] = []
    }

    /// Lists all objects of a kind.
    ///
    /// Asks again if they change meanwhile.
    ///
    /// - Parameters:
    ///   - request: What to list.
    ///   - read: Makes objects of a message.
    /// - Returns: The objects, in the kernel's order.
    /// - Throws: `EAGAIN` if the objects change faster than they can be listed.
    mutating func dump<Object>(
        _ request: Request<some BitwiseCopyable>,
        _ read: (borrowing NetlinkMessage) -> [Object]
    ) throws(SystemError) -> [Object] {
        for _ in 0..<Self.dumpCountMax {
            try send(request, flags: CInt(NLM_F_REQUEST | NLM_F_DUMP))
            if let objects = try collect(request.name, read) { return objects }
        }
        throw SystemError(request.name, .wouldBlock)
    }

    /// Lists objects of a kind up to a number, and closes the socket.
    ///
    /// - Parameters:
    ///   - request: What to list.
    ///   - countMax: The number of objects after which no further part is read.
    ///   - read: Makes objects of a message.
    /// - Returns: The objects, with the rest of the part that came last.
    /// - Throws: The kernel's reason for refusing.
    consuming func dump<Object>(
        _ request: Request<some BitwiseCopyable>, countMax: Int,
        _ read: (borrowing NetlinkMessage) -> [Object]
    ) throws(SystemError) -> [Object] {
        try send(request, flags: CInt(NLM_F_REQUEST | NLM_F_DUMP))
        return try collect(request.name, countMax: countMax, read) ?? []
    }

    /// Asks the kernel for one object.
    ///
    /// It does not wait: the kernel answers before the request has returned.
    mutating func ask<Object>(
        _ request: Request<some BitwiseCopyable>,
        _ read: (borrowing NetlinkMessage) -> Object?
    ) throws(SystemError) -> Object? {
        try ask(request, flags: CInt(NLM_F_REQUEST), read)
    }

    /// Has the kernel change something, and waits for nothing but its acknowledgement.
    mutating func change(_ request: Request<some BitwiseCopyable>) throws(SystemError) {
        _ = try ask(request, flags: CInt(NLM_F_REQUEST | NLM_F_ACK)) { _ in true }
    }

    private mutating func ask<Object>(
        _ request: Request<some BitwiseCopyable>, flags: CInt,
        _ read: (borrowing NetlinkMessage) -> Object?
    ) throws(SystemError) -> Object? {
        try send(request, flags: flags)
        while true {
            let byteCount = try takeMessages(request.name)
            let bytes = buffer.wire.extracting(first: byteCount)
            var offset = 0
            while let message = NetlinkMessage(bytes, at: offset) {
                offset += message.alignedByteCount
                guard message.sequence == sequence else { continue }
                if CInt(message.type) == NLMSG_ERROR { try Self.check(message, request.name) }
                return read(message)
            }
        }
    }

    /// Begins to list all objects of a kind: `readPart` returns them.
    mutating func beginDump(_ request: Request<some BitwiseCopyable>) throws(SystemError) {
        try send(request, flags: CInt(NLM_F_REQUEST | NLM_F_DUMP))
    }

    /// Reads one part of a dump, of at most 32 KiB.
    ///
    /// It does not wait: the kernel makes each part when the one before it is read.
    ///
    /// - Returns: False if the dump is over.
    mutating func readPart(
        _ name: String, _ body: (borrowing NetlinkMessage) -> Void
    ) throws(SystemError) -> Bool {
        var isConsistent = true
        return try readPart(name, &isConsistent, body)
    }

    /// Reads one part of a dump, and records whether the kernel marks it as inconsistent.
    private mutating func readPart(
        _ name: String, _ isConsistent: inout Bool, _ body: (borrowing NetlinkMessage) -> Void
    ) throws(SystemError) -> Bool {
        let byteCount = try receive(name)
        let bytes = buffer.wire.extracting(first: byteCount)
        var offset = 0
        while let message = NetlinkMessage(bytes, at: offset) {
            offset += message.alignedByteCount
            guard message.sequence == sequence else { continue }
            if message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { isConsistent = false }
            switch CInt(message.type) {
            case NLMSG_DONE, NLMSG_ERROR:
                try Self.check(message, name)
                return false
            default: body(message)
            }
        }
        return true
    }

    private mutating func send(
        _ request: Request<some BitwiseCopyable>, flags: CInt
    ) throws(SystemError) {
        sequence &+= 1
        // Safety: libmnl assembles the request in a buffer far larger than any of ours.
        var bytes = [UInt8](repeating: 0, count: 512)
        let sequence = sequence
        let result = unsafe bytes.withUnsafeMutableBytes { bytes in
            let message = unsafe mnl_nlmsg_put_header(bytes.baseAddress)!
            unsafe message.pointee.nlmsg_type = UInt16(request.type)
            unsafe message.pointee.nlmsg_flags = UInt16(flags)
            unsafe message.pointee.nlmsg_seq = sequence
            unsafe Self.putHeader(request.header, message)
            for attribute in request.attributes { unsafe attribute.put(into: message) }
            return unsafe mnl_socket_sendto(socket, message, Int(message.pointee.nlmsg_len))
        }
        guard result >= 0 else { throw SystemError("send \(request.name)") }
    }

    private static func putHeader<Header: BitwiseCopyable>(
        _ header: Header, _ message: UnsafeMutablePointer<nlmsghdr>
    ) {
        let fixed = unsafe mnl_nlmsg_put_extra_header(message, MemoryLayout<Header>.size)!
        unsafe fixed.storeBytes(of: header, as: Header.self)
    }

    /// Reads the parts of a dump up to its end; nil if the kernel marks it as inconsistent.
    private mutating func collect<Object>(
        _ name: String, countMax: Int = .max, _ read: (borrowing NetlinkMessage) -> [Object]
    ) throws(SystemError) -> [Object]? {
        var objects: [Object] = []
        var isConsistent = true
        var isMore = true
        while isMore, objects.count < countMax {
            isMore = try readPart(name, &isConsistent) { objects += read($0) }
        }
        return isConsistent ? objects : nil
    }

    /// Throws the error of a message that is an error or the end of a dump.
    ///
    /// Both begin with an error number, which is negative, or 0 for none.
    private static func check(
        _ message: borrowing NetlinkMessage, _ name: String
    ) throws(SystemError) {
        guard let code = message.header(CInt.self), code < 0 else { return }
        throw SystemError(name, Errno(rawValue: -code))
    }

    private mutating func receive(_ name: String) throws(SystemError) -> Int {
        let ready = try poll(
            [(fileDescriptor, .readable)], until: .now + Self.answerTimeMax)
        guard !ready[0].isEmpty else { throw SystemError(name, .timedOut) }
        return try takeMessages(name)
    }

    private mutating func takeMessages(_ name: String) throws(SystemError) -> Int {
        // Safety: libmnl writes at most as many bytes as the buffer has.
        try call("recv \(name)") {
            unsafe mnl_socket_recvfrom(socket, &buffer, buffer.count)
        }
    }
}

extension NetlinkSocket {
    /// Joins a group, from which on the socket receives the events of a kind.
    mutating func join(_ group: Int, _ name: String) throws(SystemError) {
        var group = CInt(group)
        let result = unsafe mnl_socket_setsockopt(
            socket, NETLINK_ADD_MEMBERSHIP, &group, socklen_t(MemoryLayout<CInt>.size))
        guard result == 0 else { throw SystemError("join \(name)") }
    }

    /// Subscribes to the events of all namespaces that have an id in this one.
    ///
    /// - Throws: `EPERM` without CAP_NET_BROADCAST.
    mutating func listenToAllNamespaces() throws(SystemError) {
        var isOn: CInt = 1
        let result = unsafe mnl_socket_setsockopt(
            socket, NETLINK_LISTEN_ALL_NSID, &isOn, socklen_t(MemoryLayout<CInt>.size))
        guard result == 0 else { throw SystemError("setsockopt NETLINK_LISTEN_ALL_NSID") }
    }

    /// Takes the ids of the namespaces that have sent events; nil if some events were lost.
    mutating func takeNamespaces() throws(SystemError) -> Set<Int32>? {
        var ids: Set<Int32> = []
        var isComplete = true
        for _ in 0..<Self.eventCountMax {
            var id: Int32 = -1
            // Safety: the call writes at most as many bytes as the buffer has.
            let count = unsafe clinux_receive_from_namespace(
                fileDescriptor, &buffer, buffer.count, &id)
            if count < 0 {
                let errno = Errno.current
                if errno == .wouldBlock { break }
                if errno == .noBufferSpace { isComplete = false }
            } else if id >= 0 {
                ids.insert(id)
            }
        }
        return isComplete ? ids : nil
    }

    /// Sets how much the kernel keeps for this socket until it is read.
    ///
    /// Without CAP_NET_ADMIN it is cut to `net.core.rmem_max`.
    mutating func setReceiveBuffer(byteCount: Int) throws(SystemError) {
        var count = CInt(clamping: byteCount)
        let byteCount = socklen_t(MemoryLayout<CInt>.size)
        // Safety: the kernel reads an int.
        if unsafe setsockopt(fileDescriptor, SOL_SOCKET, SO_RCVBUFFORCE, &count, byteCount) == 0 {
            return
        }
        guard unsafe setsockopt(fileDescriptor, SOL_SOCKET, SO_RCVBUF, &count, byteCount) == 0
        else {
            throw SystemError("setsockopt SO_RCVBUF")
        }
    }

    /// Reads the events that wait.
    ///
    /// Never waits itself.
    ///
    /// - Parameters:
    ///   - name: The name of the events in errors.
    ///   - discardsAfterLoss: Whether the events that the kernel has kept are dropped once others
    ///     are lost: for a reader that lists everything anew then.
    ///   - body: Is called with each event.
    /// - Returns: False if the kernel has dropped events because they were not read in time. It does
    ///   so until the reader has caught up.
    /// - Throws: The kernel's reason if the socket has failed.
    mutating func readEvents(
        _ name: String, discardsAfterLoss: Bool = false, _ body: (borrowing NetlinkMessage) -> Void
    ) throws(SystemError) -> Bool {
        var isComplete = true
        for _ in 0..<Self.eventCountMax {
            // The forwarder's thread reads events, so no error is made of there being none.
            // Safety: libmnl writes at most as many bytes as the buffer has.
            let byteCount = unsafe mnl_socket_recvfrom(socket, &buffer, buffer.count)
            if byteCount < 0 {
                switch Errno.current {
                case .wouldBlock: return isComplete
                case .interrupted: continue
                case .noBufferSpace:
                    isComplete = false
                    continue
                case let errno: throw SystemError("recv \(name)", errno)
                }
            }
            guard isComplete || !discardsAfterLoss else { continue }
            let bytes = buffer.wire.extracting(first: byteCount)
            var offset = 0
            while let message = NetlinkMessage(bytes, at: offset) {
                offset += message.alignedByteCount
                body(message)
            }
        }
        return isComplete
    }
}
