import Linux

/// A packet socket that receives every packet of an interface, or of all interfaces.
package struct PacketSocket: Equatable, Sendable {
    /// The inode, by which its owner is known.
    package let inode: UInt64
    /// The interface's index; 0 for all interfaces.
    package let interface: UInt32

    /// A socket by its parts.
    package init(inode: UInt64, interface: UInt32) {
        (self.inode, self.interface) = (inode, interface)
    }

    /// The most that is read of the table: 10,000 sockets and more, of about 80 bytes each.
    private static let tableByteCountMax = 1 << 20

    /// Reads the packet sockets of this network namespace; nil if that is impossible.
    static func read() -> [PacketSocket]? {
        guard let bytes = try? readFile("/proc/net/packet", byteCountMax: tableByteCountMax) else {
            return nil
        }
        return sockets(in: String(decoding: bytes, as: UTF8.self))
    }

    /// Parses a table of packet sockets.
    package static func sockets(in table: String) -> [PacketSocket] {
        table.split(separator: "\n").dropFirst().compactMap { line in
            let words = line.split(separator: " ")
            // The protocol comes before the interface, and is 3 for every packet (ETH_P_ALL).
            guard words.count > 8, words[3] == "0003", let interface = UInt32(words[4]),
                let inode = UInt64(words[8])
            else { return nil }
            return PacketSocket(inode: inode, interface: interface)
        }
    }
}
