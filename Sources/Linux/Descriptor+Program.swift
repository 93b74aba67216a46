package import BPF

import CLinux
import Glibc

extension Descriptor {
    /// What the error names when the kernel refuses a program. `ENOMEM` says that the program, and
    /// the one that it is to replace, take more than `net.core.optmem_max` together: 128 KiB, and
    /// 20 KiB before Linux 6.8. An instruction takes up to 60 bytes.
    package static let attachOperation = "setsockopt SO_ATTACH_FILTER"

    /// Has the kernel run a program on each packet before the socket sees it. A program that is
    /// there already is replaced between two packets.
    package func attach(_ program: Program) throws(SystemError) {
        try Self.attach(program, to: fileDescriptor)
    }

    /// The same for a socket that somebody else owns.
    package static func attach(_ program: Program, to socket: CInt) throws(SystemError) {
        var instructions = program.instructions.map { step in
            sock_filter(
                code: step.opcode.rawValue, jt: step.ifTrue, jf: step.ifFalse, k: step.operand)
        }
        // Safety: the kernel copies the program during the call.
        let result = try unsafe instructions.withUnsafeMutableBufferPointer {
            steps throws(SystemError) in
            guard let count = UInt16(exactly: steps.count) else {
                throw SystemError(attachOperation, EINVAL)
            }
            var program = unsafe sock_fprog(len: count, filter: steps.baseAddress)
            return unsafe setsockopt(
                socket, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                socklen_t(MemoryLayout<sock_fprog>.size))
        }
        guard result == 0 else { throw SystemError(attachOperation) }
    }
}
