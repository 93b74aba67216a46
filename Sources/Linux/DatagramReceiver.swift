package import Addressing
import Glibc

/// A UDP socket that receives from one host and never waits (udp(7)).
package struct DatagramReceiver: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// The address that the socket is bound to.
    package let local: SocketAddress

    /// The result of a read.
    package enum Received: Equatable, Sendable {
        /// No datagram has arrived.
        case nothing
        /// A datagram was written to the start of the buffer.
        case datagram(byteCount: Int)
        /// A datagram was dropped: it came from another host, or did not fit the buffer.
        case other
    }

    /// Room for a burst.
    ///
    /// The kernel doubles it and counts its own overhead into it.
    private static let bufferByteCountWanted: CInt = 8 << 20

    /// Binds a socket to an address; port 0 takes a free one.
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

    /// Without CAP_NET_ADMIN the buffer is limited by net.core.rmem_max, which still serves.
    private static func enlarge(_ descriptor: borrowing Descriptor) throws(SystemError) {
        let level = SOL_SOCKET
        do throws(SystemError) {
            try descriptor.set(SO_RCVBUFFORCE, of: level, to: bufferByteCountWanted, "SO_RCVBUF")
        } catch {
            guard error.errno == .notPermitted else { throw error }
            try descriptor.set(SO_RCVBUF, of: level, to: bufferByteCountWanted, "SO_RCVBUF")
        }
    }

    /// The descriptor, for a poll set: readable when a datagram has arrived.
    package var fileDescriptor: CInt { descriptor.fileDescriptor }

    /// Reads one datagram into the buffer if it comes from the expected host, from any port.
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
                let isExpected = unsafe withUnsafeBytes(of: storage) { bytes in
                    let span = unsafe RawSpan(_unsafeBytes: bytes)
                    return SocketAddress(kernelForm: span.extracting(first: byteCount))?.address
                        == host
                }
                return isExpected && count <= buffer.count ? .datagram(byteCount: count) : .other
            }
            switch Errno.current {
            case .wouldBlock: return .nothing
            // An ICMP error for a datagram that this socket never sent concerns nobody.
            case .interrupted, .connectionRefused, .hostUnreachable, .networkUnreachable: continue
            default: throw SystemError("recvfrom")
            }
        }
    }
}
