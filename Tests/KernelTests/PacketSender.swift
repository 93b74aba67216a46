import CLinux
import Glibc
import Kernel

/// Sends frames, byte by byte as they are, out of an interface.
struct PacketSender: ~Copyable {
    private let socket: Descriptor
    private let interface: UInt32

    init(on interface: UInt32) throws {
        socket = try Descriptor("socket AF_PACKET") {
            Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue), 0)
        }
        self.interface = interface
    }

    func send(_ frame: [UInt8]) throws {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_ifindex = CInt(interface)
        // Safety: sendto(2) reads the address and the frame within the lengths it is given.
        try unsafe withUnsafeBytes(of: address) { bytes throws(SystemError) in
            let name = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            _ = try call("sendto") {
                unsafe sendto(socket.number, frame, frame.count, 0, name, socklen_t(bytes.count))
            }
        }
    }
}

func interfaceIndex(_ name: String) throws -> UInt32 {
    let index = unsafe if_nametoindex(name)
    guard index != 0 else { throw SystemError("if_nametoindex \(name)") }
    return index
}
