import Addressing
import Linux
import Packets

/// The tunnel's own datagrams, as an edge sees them on their way to a pod.
///
/// The rule leaves out what goes to a sensor's addresses. Where a sensor is reached through a
/// service, or behind a load balancer, its pod has another one, which nobody knows before the first
/// datagram. Sent again, each datagram would beget the next one.
struct TunnelEcho {
    /// The addresses that the tunnel's sockets are bound to, which differ in their ports.
    let locals: [SocketAddress]
    private let address: IPAddress
    private let ports: Set<UInt16>

    /// The datagrams from an address of this node, and some ports.
    init(_ local: SocketAddress, _ ports: [UInt16]) {
        address = local.address
        self.ports = Set(ports)
        locals = ports.map { local.with(port: $0) }
    }

    /// Returns where a frame goes, if it has one of the tunnel's datagrams; nil if it has not.
    ///
    /// A later fragment has no port. Those of a few milliseconds are reported, until the rule knows
    /// the address.
    func destination(of frame: RawSpan) -> IPAddress? {
        let start = EthernetHeader.byteCount
        switch address.family {
        case .ipv4:
            guard frame.byteCount >= start + IPv4Header.byteCount,
                frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv4,
                frame.uint8(at: start + IPv4Header.protocolNumber) == IPProtocol.udp,
                IPAddress(.ipv4, frame, at: start + IPv4Header.source) == address
            else { return nil }
        case .ipv6:
            guard frame.byteCount >= start + IPv6Header.byteCount,
                frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv6,
                IPAddress(.ipv6, frame, at: start + IPv6Header.source) == address
            else { return nil }
        }
        guard let packet = Headers(frame).packet, packet.transport == IPProtocol.udp,
            let port = packet.ports?.source, ports.contains(port)
        else { return nil }
        return packet.destination
    }
}
