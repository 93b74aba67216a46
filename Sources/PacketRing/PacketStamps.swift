import Glibc
package import Linux

/// A request to the kernel to timestamp packets on arrival, for as long as this value lives.
///
/// All rings then have the same time for a packet. Without it the kernel takes the time again for
/// every ring that receives the packet.
///
/// Enabling this timestamps every packet on the node, which costs about 20 ns each. It takes effect
/// shortly after the call (`net_enable_timestamp` in the kernel's dev.c). The ring marks stamped
/// packets with `TP_STATUS_TS_SOFTWARE`.
package struct PacketStamps: ~Copyable, Sendable {
    private let socket: Descriptor

    /// Enables timestamps on arrival.
    package init() throws(SystemError) {
        // The socket receives nothing. The kernel counts the sockets that have the option set.
        let socket = try Descriptor("socket for timestamps") {
            Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        try socket.set(SO_TIMESTAMPNS, of: SOL_SOCKET, to: CInt(1), "SO_TIMESTAMPNS")
        self.socket = socket
    }
}

/// Waits until rings have received all packets that were under way to them: about 15 ms.
///
/// The kernel waits for this when it closes a packet socket (`packet_release` in its af_packet.c).
package func awaitPacketsUnderWay() throws(SystemError) {
    _ = try Descriptor("socket AF_PACKET") {
        Glibc.socket(AF_PACKET, CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue), 0)
    }
}
