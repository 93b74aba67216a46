import BPF
import CLinux
import Glibc
import Kernel

extension Descriptor {
    /// Has the kernel run a program on each packet before the socket sees it. A program that is
    /// there already is replaced between two packets.
    func attach(_ program: Program) throws(SystemError) {
        var instructions = program.instructions.map { step in
            sock_filter(
                code: step.opcode.rawValue, jt: step.ifTrue, jf: step.ifFalse, k: step.operand)
        }
        // Safety: the kernel copies the program during the call.
        try unsafe instructions.withUnsafeMutableBufferPointer { steps throws(SystemError) in
            guard let count = UInt16(exactly: steps.count) else {
                throw SystemError("setsockopt SO_ATTACH_FILTER", EINVAL)
            }
            let program = unsafe sock_fprog(len: count, filter: steps.baseAddress)
            try unsafe set(SO_ATTACH_FILTER, of: SOL_SOCKET, to: program, "SO_ATTACH_FILTER")
        }
    }

    /// Starts to receive every packet that the interface sends or receives.
    func bind(to interface: UInt32) throws(SystemError) {
        var address = sockaddr_ll()
        address.sll_family = UInt16(AF_PACKET)
        address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
        address.sll_ifindex = CInt(interface)
        // Safety: bind(2) reads `sockaddr_ll` by its family, within the length it is given.
        let result = unsafe withUnsafeBytes(of: address) { bytes in
            unsafe Glibc.bind(
                number, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                socklen_t(bytes.count))
        }
        guard result == 0 else { throw SystemError("bind AF_PACKET") }
    }
}
