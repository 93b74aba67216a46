import CLinux
import Glibc
package import Linux

/// A packet socket that sends frames as they are out of an interface.
package struct PacketSender: ~Copyable {
    private let socket: Descriptor
    private let interface: UInt32

    /// Opens a sender.
    ///
    /// - Parameters:
    ///   - interface: The index of the interface.
    ///   - leavesOffload: Whether each frame has a `virtio_net_hdr` in front, which says what is left
    ///     to the device.
    /// - Throws: The kernel's reason.
    package init(on interface: UInt32, leavesOffload: Bool = false) throws(SystemError) {
        let socket = try Descriptor("socket AF_PACKET") {
            Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue), 0)
        }
        if leavesOffload {
            try socket.set(PACKET_VNET_HDR, of: SOL_PACKET, to: CInt(1), "PACKET_VNET_HDR")
        }
        self.socket = socket
        self.interface = interface
    }

    /// Makes a sender of a packet socket in another network namespace, where the index counts.
    package init(_ socket: consuming Descriptor, on interface: UInt32) {
        self.socket = socket
        self.interface = interface
    }

    /// Sends a frame.
    package func send(_ frame: [UInt8]) throws(SystemError) {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_ifindex = CInt(interface)
        // Safety: sendto(2) reads the address and the frame within the lengths it is given.
        try unsafe withUnsafeBytes(of: address) { bytes throws(SystemError) in
            let name = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            _ = try call("sendto") {
                unsafe sendto(
                    socket.fileDescriptor, frame, frame.count, 0, name, socklen_t(bytes.count))
            }
        }
    }
}

/// The index of the interface with a name.
package func interfaceIndex(_ name: String) throws(SystemError) -> UInt32 {
    let index = unsafe if_nametoindex(name)
    guard index != 0 else { throw SystemError("if_nametoindex \(name)") }
    return index
}
