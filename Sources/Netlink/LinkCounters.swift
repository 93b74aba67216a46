import CMnl
import Glibc
package import Linux

/// The packet counters of an interface since it was made (`struct rtnl_link_stats64`).
package struct LinkCounters: Equatable, Sendable {
    /// The packets that the interface has received.
    package let receivedPacketCount: UInt64
    /// The packets that the interface has sent.
    package let sentPacketCount: UInt64

    /// Counters with known values.
    package init(receivedPacketCount: UInt64, sentPacketCount: UInt64) {
        self.receivedPacketCount = receivedPacketCount
        self.sentPacketCount = sentPacketCount
    }
}

extension NetlinkSocket {
    /// The counters of all interfaces of a namespace.
    ///
    /// - Parameter id: The namespace, which needs CAP_NET_ADMIN; nil for this one.
    /// - Returns: The counters, by the indexes of the interfaces.
    /// - Throws: The kernel's reason for not answering.
    package mutating func counters(
        inNamespace id: Int32? = nil
    ) throws(SystemError) -> [UInt32: LinkCounters] {
        let request = Request(
            type: RTM_GETLINK, name: id.map { "RTM_GETLINK of namespace \($0)" } ?? "RTM_GETLINK",
            header: ifinfomsg(),
            attributes: id.map { [.number(type: IFLA_TARGET_NETNSID, UInt32(bitPattern: $0))] }
                ?? [])
        let entries = try dump(request) { message -> [(UInt32, LinkCounters)] in
            guard message.namespace(after: ifinfomsg.self, IFLA_TARGET_NETNSID) == id,
                let header = message.header(ifinfomsg.self), let counters = LinkCounters(message)
            else { return [] }
            return [(UInt32(header.ifi_index), counters)]
        }
        return Dictionary(entries) { $1 }
    }
}

extension LinkCounters {
    /// Reads an RTM_NEWLINK; nil if there are no counters in it.
    package init?(_ message: borrowing NetlinkMessage) {
        var counts: (received: UInt64, sent: UInt64)?
        message.forEachAttribute(after: ifinfomsg.self) { type, value in
            // The two are at the start of the structure.
            guard type == IFLA_STATS64, value.byteCount >= 16 else { return }
            counts = (value.nativeUInt64(at: 0), value.nativeUInt64(at: 8))
        }
        guard let counts else { return nil }
        self.init(receivedPacketCount: counts.received, sentPacketCount: counts.sent)
    }
}
