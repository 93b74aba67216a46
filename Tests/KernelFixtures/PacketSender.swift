import CLinux
import Addressing
package import Packets
import Glibc
import Linux

/// Sends frames, byte by byte as they are, out of an interface.
package struct PacketSender: ~Copyable {
    private let socket: Descriptor
    private let interface: UInt32

    /// A sender that leaves something to the device puts a `virtio_net_hdr` before each frame.
    package init(on interface: UInt32, leavesOffload: Bool = false) throws {
        let socket = try Descriptor("socket AF_PACKET") {
            Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue), 0)
        }
        if leavesOffload {
            try socket.set(PACKET_VNET_HDR, of: SOL_PACKET, to: CInt(1), "PACKET_VNET_HDR")
        }
        self.socket = socket
        self.interface = interface
    }

    package func send(_ frame: [UInt8]) throws {
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

package func interfaceIndex(_ name: String) throws -> UInt32 {
    let index = unsafe if_nametoindex(name)
    guard index != 0 else { throw SystemError("if_nametoindex \(name)") }
    return index
}

extension Offload {
    /// The `virtio_net_hdr` that says so.
    package var bytes: [UInt8] {
        var type: UInt8 =
            switch segmentation {
            case .none: 0
            case .tcpOverIPv4: 1
            case .tcpOverIPv6: 4
            case .udp: 5
            case .other(let type): type
            }
        if isCongestionReduced { type |= 0x80 }
        let words = [headerByteCount, segmentByteCount, checksumStart, checksumOffset]
        // Numbers are in the machine's byte order.
        return [needsChecksum ? 1 : 0, type]
            + words.flatMap { word in
                var bytes: [UInt8] = []
                bytes.append(bigEndian: word.bigEndian)
                return bytes
            }
    }
}
