import CLinux
import Glibc
import Linux

extension Descriptor {
    /// Starts to receive every packet that the interface sends or receives.
    func bind(to interface: UInt32) throws(SystemError) {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
        address.sll_ifindex = CInt(interface)
        // Safety: bind(2) reads `sockaddr_ll` by its family, within the length it is given.
        let result = unsafe withUnsafeBytes(of: address) { bytes in
            unsafe Glibc.bind(
                fileDescriptor, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t(bytes.count))
        }
        guard result == 0 else { throw SystemError("bind AF_PACKET") }
    }
}
