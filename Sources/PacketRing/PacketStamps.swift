package import Linux

import Glibc

/// While one of these lives, the kernel notes a packet's time when it arrives, before it shows it to
/// any ring, and so all rings have the same time for it. Otherwise each notes when the packet
/// reaches it.
///
/// It does so for all packets of the node, which costs each some 20 ns, and begins soon after, not
/// at once (`net_enable_timestamp` in the kernel's dev.c). Of a packet that it has been done for the
/// ring says so.
package struct PacketStamps: ~Copyable, Sendable {
    private let socket: Descriptor

    package init() throws(SystemError) {
        // Nothing is received there. The kernel counts the sockets that want to know.
        let socket = try Descriptor("socket for timestamps") {
            Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        try socket.set(SO_TIMESTAMPNS, of: SOL_SOCKET, to: CInt(1), "SO_TIMESTAMPNS")
        self.socket = socket
    }
}

/// Waits until all packets have passed that were being shown to rings when this was called: some
/// 15 ms. The kernel waits for that when it closes a packet socket (`packet_release` in its
/// af_packet.c).
package func awaitPacketsUnderWay() throws(SystemError) {
    _ = try Descriptor("socket AF_PACKET") {
        Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
    }
}
