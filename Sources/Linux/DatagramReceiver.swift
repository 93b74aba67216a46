package import Addressing

import Glibc

/// A socket that takes datagrams (udp(7)). Nothing waits here; `poll` does.
package struct DatagramReceiver: ~Copyable, Sendable {
    private let descriptor: Descriptor
    package let local: SocketAddress

    /// What a read has found.
    package enum Received: Equatable, Sendable {
        case nothing
        /// A datagram of so many bytes is at the start of the buffer.
        case datagram(byteCount: Int)
        /// A datagram from somebody else, or one that the buffer is too short for.
        case other
    }

    /// What a sensor is sent in a burst has to wait somewhere. The kernel counts its own overhead
    /// into this, and gives twice as much as it is asked for.
    private static let bufferByteCountWanted: CInt = 8 << 20

    /// Binds; port 0 takes a free one.
    package init(at address: SocketAddress) throws(SystemError) {
        let descriptor = try Descriptor.datagrams(address.domain)
        try Self.enlarge(descriptor)
        try call("bind \(address)") {
            unsafe address.withKernelForm { unsafe bind(descriptor.fileDescriptor, $0, $1) }
        }
        let local = try descriptor.localAddress()
        self.descriptor = descriptor
        self.local = local
    }

    /// Without CAP_NET_ADMIN net.core.rmem_max limits the buffer, and that is what it is then.
    private static func enlarge(_ descriptor: borrowing Descriptor) throws(SystemError) {
        let level = SOL_SOCKET
        do throws(SystemError) {
            try descriptor.set(SO_RCVBUFFORCE, of: level, to: bufferByteCountWanted, "SO_RCVBUF")
        } catch {
            guard error.code == EPERM else { throw error }
            try descriptor.set(SO_RCVBUF, of: level, to: bufferByteCountWanted, "SO_RCVBUF")
        }
    }

    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Reads one datagram into the buffer, if it comes from the host that is meant. Its port is
    /// the sender's own affair.
    package func receive(
        into buffer: inout [UInt8], from host: IPAddress
    ) throws(SystemError) -> Received {
        var storage = sockaddr_storage()
        while true {
            var addressByteCount = socklen_t(MemoryLayout<sockaddr_storage>.size)
            // Safety: the kernel writes at most as many bytes as the buffer has, and as the storage
            // has, which is as large and as aligned as any socket address.
            let count = unsafe withUnsafeMutableBytes(of: &storage) { bytes in
                let address = unsafe bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
                return unsafe recvfrom(
                    fileDescriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT | MSG_TRUNC),
                    address, &addressByteCount)
            }
            if count >= 0 {
                let byteCount = min(
                    Int(addressByteCount), MemoryLayout<sockaddr_storage>.size)
                let isMeant = unsafe withUnsafeBytes(of: storage) { bytes in
                    let span = unsafe RawSpan(_unsafeBytes: bytes)
                    return SocketAddress(kernelForm: span.extracting(first: byteCount))?.address
                        == host
                }
                return isMeant && count <= buffer.count ? .datagram(byteCount: count) : .other
            }
            switch errno {
            case EAGAIN: return .nothing
            // An ICMP error for a datagram that this socket never sent is nobody's.
            case EINTR, ECONNREFUSED, EHOSTUNREACH, ENETUNREACH: continue
            default: throw SystemError("recvfrom")
            }
        }
    }
}
