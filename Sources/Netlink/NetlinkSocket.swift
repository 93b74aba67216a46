package import Linux

import CLinux
import CMnl
import Addressing
import Packets
import Glibc

/// A netlink socket with one owner. It closes when its owner lets it go.
@safe
package struct NetlinkSocket: ~Copyable {
    private let socket: OpaquePointer
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: Self.messageByteCountMax)

    /// The largest piece the kernel cuts a dump into, libmnl's MNL_SOCKET_DUMP_SIZE.
    private static let messageByteCountMax = 32 << 10
    /// Events that come faster than they are read must not keep the reader from everything else.
    private static let eventCountMax = 8192
    /// How often a dump is asked for again because something changed while it was made.
    private static let dumpCountMax = 8
    /// The kernel answers at once; one that does not will not.
    private static let answerMillisecondsMax: CInt = 5000

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

    /// For a poll set, and for socket options that libmnl does not know.
    var fileDescriptor: CInt { unsafe mnl_socket_get_fd(socket) }

    /// A request as libmnl puts it together: its fixed part, then attributes.
    struct Request<Header: BitwiseCopyable> {
        let type: Int
        /// What to call it in an error.
        let name: String
        let header: Header
        var attributes: [NetlinkAttribute] = []
    }

    /// Asks the kernel for all objects of a kind, and reads each with `read`. Asks again if they
    /// changed in the meantime.
    mutating func dump<Object>(
        _ request: Request<some BitwiseCopyable>,
        _ read: (borrowing NetlinkMessage) -> [Object]
    ) throws(SystemError) -> [Object] {
        for _ in 0..<Self.dumpCountMax {
            try send(request, flags: CInt(NLM_F_REQUEST | NLM_F_DUMP))
            if let objects = try collect(request.name, read) { return objects }
        }
        // What changes faster than it can be listed is still better known roughly than not at all.
        throw SystemError(request.name, EAGAIN)
    }

    /// Asks the kernel for one object. It answers before the request has been sent to the end, so
    /// this does not wait.
    mutating func ask<Object>(
        _ request: Request<some BitwiseCopyable>,
        _ read: (borrowing NetlinkMessage) -> Object?
    ) throws(SystemError) -> Object? {
        try send(request, flags: CInt(NLM_F_REQUEST))
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

    private mutating func send(
        _ request: Request<some BitwiseCopyable>, flags: CInt
    ) throws(SystemError) {
        sequence &+= 1
        // Safety: the request is put together by libmnl in a buffer far larger than any of ours.
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

    /// Reads the parts of a dump until its end. Nil if the kernel marks it as inconsistent.
    private mutating func collect<Object>(
        _ name: String, _ read: (borrowing NetlinkMessage) -> [Object]
    ) throws(SystemError) -> [Object]? {
        var objects: [Object] = []
        var isConsistent = true
        while true {
            let byteCount = try receive(name)
            let bytes = buffer.wire.extracting(first: byteCount)
            var offset = 0
            while let message = NetlinkMessage(bytes, at: offset) {
                offset += message.alignedByteCount
                guard message.sequence == sequence else { continue }
                if message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { isConsistent = false }
                switch CInt(message.type) {
                case NLMSG_DONE:
                    try Self.check(message, name)
                    return isConsistent ? objects : nil
                case NLMSG_ERROR: try Self.check(message, name)
                default: objects += read(message)
                }
            }
        }
    }

    /// Both an error and the end of a dump begin with an error number, negative or 0.
    private static func check(_ message: borrowing NetlinkMessage, _ name: String)
        throws(SystemError)
    {
        if let code = message.header(CInt.self), code < 0 { throw SystemError(name, -code) }
    }

    private mutating func receive(_ name: String) throws(SystemError) -> Int {
        let ready = try poll(
            [(fileDescriptor, .readable)], milliseconds: Self.answerMillisecondsMax)
        guard !ready[0].isEmpty else { throw SystemError(name, ETIMEDOUT) }
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
    /// Joins a group: from now on the socket receives the events of a kind.
    mutating func join(_ group: Int, _ name: String) throws(SystemError) {
        var group = CInt(group)
        let result = unsafe mnl_socket_setsockopt(
            socket, NETLINK_ADD_MEMBERSHIP, &group, socklen_t(MemoryLayout<CInt>.size))
        guard result == 0 else { throw SystemError("join \(name)") }
    }

    /// Has events of all namespaces that have an id here come, too; `EPERM` without
    /// CAP_NET_BROADCAST.
    mutating func listenToAllNamespaces() throws(SystemError) {
        var isOn: CInt = 1
        let result = unsafe mnl_socket_setsockopt(
            socket, NETLINK_LISTEN_ALL_NSID, &isOn, socklen_t(MemoryLayout<CInt>.size))
        guard result == 0 else { throw SystemError("setsockopt NETLINK_LISTEN_ALL_NSID") }
    }

    /// The ids of the namespaces that events have come from since the last time. Answers nil if
    /// some were lost.
    mutating func takeNamespaces() throws(SystemError) -> Set<Int32>? {
        var ids: Set<Int32> = []
        var isComplete = true
        for _ in 0..<Self.eventCountMax {
            var id: Int32 = -1
            // Safety: the call writes at most as many bytes as the buffer has.
            let count = unsafe clinux_receive_from_namespace(
                fileDescriptor, &buffer, buffer.count, &id)
            if count < 0 {
                if errno == EAGAIN { break }
                if errno == ENOBUFS { isComplete = false }
            } else if id >= 0 {
                ids.insert(id)
            }
        }
        return isComplete ? ids : nil
    }

    /// How much the kernel keeps for a reader that is not here at the moment. Without CAP_NET_ADMIN
    /// it is cut to `net.core.rmem_max`.
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

    /// Reads what events there are, without waiting. Answers false if the kernel has thrown some
    /// away because they were not read in time.
    ///
    /// It does so until the reader has caught up, and hands out what it kept before that. Where those
    /// are of no use beside a new look at everything, they are thrown away, too.
    mutating func readEvents(
        _ name: String, discardsAfterLoss: Bool = false, _ body: (borrowing NetlinkMessage) -> Void
    ) throws(SystemError) -> Bool {
        var isComplete = true
        for _ in 0..<Self.eventCountMax {
            let byteCount: Int
            do throws(SystemError) {
                byteCount = try takeMessages(name)
            } catch {
                if error.code == EAGAIN { return isComplete }
                guard error.code == ENOBUFS else { throw error }
                isComplete = false
                continue
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
