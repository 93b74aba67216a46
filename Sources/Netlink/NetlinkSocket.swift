package import Kernel

import CLinux
import CMnl
import Frames
import Glibc

/// A netlink socket with one owner. It closes when its owner lets it go.
@safe
package struct NetlinkSocket: ~Copyable {
    private let socket: OpaquePointer
    private var sequence: UInt32 = 0
    private var buffer = [UInt8](repeating: 0, count: Self.messageByteCountMax)

    /// The largest piece the kernel cuts a dump into, libmnl's MNL_SOCKET_DUMP_SIZE.
    private static let messageByteCountMax = 32 << 10
    /// How often a dump is asked for again because something changed while it was made.
    private static let dumpCountMax = 8
    /// The kernel answers at once; one that does not will not.
    private static let answerMillisecondsMax: CInt = 5000

    /// Opens a socket on the bus of links, addresses and routes.
    package init() throws(SystemError) {
        guard let socket = unsafe mnl_socket_open2(NETLINK_ROUTE, CInt(SOCK_CLOEXEC.rawValue))
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

    /// Asks the kernel for all objects of a kind, and reads each with `read`. Asks again if they
    /// changed in the meantime.
    mutating func dump<Header: BitwiseCopyable, Object>(
        _ type: Int, _ name: String, _ header: Header, attribute: (type: Int, value: UInt32)? = nil,
        _ read: (borrowing NetlinkMessage) -> [Object]
    ) throws(SystemError) -> [Object] {
        for _ in 0..<Self.dumpCountMax {
            try request(type, name, header, attribute)
            if let objects = try collect(name, read) { return objects }
        }
        // What changes faster than it can be listed is still better known roughly than not at all.
        throw SystemError(name, EAGAIN)
    }

    private mutating func request<Header: BitwiseCopyable>(
        _ type: Int, _ name: String, _ header: Header, _ attribute: (type: Int, value: UInt32)?
    ) throws(SystemError) {
        sequence &+= 1
        // Safety: the request is put together by libmnl in a buffer far larger than it.
        var request = [UInt8](repeating: 0, count: 256)
        let sequence = sequence
        let result = unsafe request.withUnsafeMutableBytes { bytes in
            let message = unsafe mnl_nlmsg_put_header(bytes.baseAddress)!
            unsafe message.pointee.nlmsg_type = UInt16(type)
            unsafe message.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
            unsafe message.pointee.nlmsg_seq = sequence
            let fixed = unsafe mnl_nlmsg_put_extra_header(message, MemoryLayout<Header>.size)!
            unsafe fixed.storeBytes(of: header, as: Header.self)
            if let attribute {
                unsafe mnl_attr_put_u32(message, UInt16(attribute.type), attribute.value)
            }
            return unsafe mnl_socket_sendto(socket, message, Int(message.pointee.nlmsg_len))
        }
        guard result >= 0 else { throw SystemError("send \(name)") }
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
        let number = unsafe mnl_socket_get_fd(socket)
        let ready = try poll([(number, .readable)], milliseconds: Self.answerMillisecondsMax)
        guard !ready[0].isEmpty else { throw SystemError(name, ETIMEDOUT) }
        // Safety: libmnl writes at most as many bytes as the buffer has.
        return try call("recv \(name)") {
            unsafe mnl_socket_recvfrom(socket, &buffer, buffer.count)
        }
    }
}
