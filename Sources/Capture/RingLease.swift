import BPF
import CLinux
import Glibc
package import Kernel

/// A hold on a ring's socket. The kernel lets go of the socket, which takes it some 15 ms, when the
/// ring and all its leases are gone; so whoever must not wait closes the ring first.
///
/// It also has the socket's fanout group (packet(7)), by which one ring takes another one's place
/// without a packet lost or doubled: a group hands each packet to one of its members, chosen by a
/// program, and programs are exchanged between two packets.
package struct RingLease: ~Copyable, Sendable {
    private let socket: Descriptor
    /// The number of the group that the ring is in.
    package let group: UInt16

    init(_ socket: borrowing Descriptor) throws(SystemError) {
        let number = socket.number
        let value = try socket.get(
            PACKET_FANOUT, of: SOL_PACKET, into: UInt32(0), "PACKET_FANOUT")
        self.socket = try Descriptor("dup of a ring's socket") { clinux_dup_cloexec(number) }
        group = UInt16(truncatingIfNeeded: value)
    }

    /// Has the group hand all packets to one of its members, by the order in which they have joined.
    /// May wait for some 15 ms.
    package func choose(member: UInt32) throws(SystemError) {
        var instruction = sock_filter(
            code: Opcode.keep.rawValue, jt: 0, jf: 0, k: member)
        // Safety: the kernel copies the program during the call.
        let result = unsafe withUnsafeMutablePointer(to: &instruction) { instruction in
            var program = unsafe sock_fprog(len: 1, filter: instruction)
            return unsafe setsockopt(
                socket.number, SOL_PACKET, PACKET_FANOUT_DATA, &program,
                socklen_t(MemoryLayout<sock_fprog>.size))
        }
        guard result == 0 else { throw SystemError("setsockopt PACKET_FANOUT_DATA") }
    }
}

extension Descriptor {
    /// Joins a group of packet sockets, or makes one of a number that no other has. `ENETDOWN` says
    /// that the interface is down, and so the socket not at work.
    borrowing func join(_ group: UInt16?) throws(SystemError) {
        let flags = group == nil ? UInt32(PACKET_FANOUT_FLAG_UNIQUEID) : 0
        let value = UInt32(group ?? 0) | (UInt32(PACKET_FANOUT_CBPF) | flags) << 16
        do throws(SystemError) {
            try set(PACKET_FANOUT, of: SOL_PACKET, to: value, "PACKET_FANOUT")
        } catch {
            throw error.code == EINVAL ? SystemError(error.operation, ENETDOWN) : error
        }
    }
}
