import Addressing
import Packets

/// A hash of a frame's flow, the same for both directions.
///
/// A receiver spreads a tunnel's packets over its queues and processes by the outer addresses and
/// ports. The outer source port is therefore made from the inner flow (RFC 7348, 5; RFC 8926, 3.3),
/// and has to be the same in both directions where one process analyses both.
///
/// The hash depends on nothing but the frame, so that all senders agree.
package enum FlowHash {
    /// The outer source ports: those that RFC 7348 recommends.
    package static let ports: ClosedRange<UInt16> = 49_152...65_535

    /// Returns the hash of a frame, which may end anywhere.
    ///
    /// It covers:
    /// * addresses, protocol, and ports of an IP packet, behind VLAN tags and extension headers; an
    ///   ICMP echo has its identifier as both ports;
    /// * the addresses alone of a fragment, since later fragments have no ports;
    /// * addresses and protocol if there are no ports, or if they are cut off;
    /// * MAC addresses and the EtherType of other frames.
    package static func hash(of frame: RawSpan) -> UInt32 {
        if let hash = plainHash(of: frame) { return hash }
        guard let content = FrameContent(frame) else { return 0 }
        guard let packet = content.packet(in: frame) else {
            return otherHash(of: frame, content.etherType)
        }
        guard packet.fragment == nil else {
            return hash(packet.source, 0, packet.destination, 0, 0)
        }
        return hash(
            packet.source, packet.ports?.source ?? 0, packet.destination,
            packet.ports?.destination ?? 0, packet.transport)
    }

    /// Returns the hash of a plain frame with ports, which most frames are; nil for others.
    ///
    /// It is the one that the whole way would lead to, in a fraction of its time.
    private static func plainHash(of frame: RawSpan) -> UInt32? {
        let start = EthernetHeader.byteCount
        guard frame.byteCount >= PlainFrame.IPv4.transport + PortsHeader.byteCount else {
            return nil
        }
        switch frame.uint16(at: EthernetHeader.etherType) {
        case EtherType.ipv4:
            let transport = frame.uint8(at: PlainFrame.IPv4.protocolNumber)
            guard frame.uint8(at: start) == IPv4Header.plainStart,
                frame.uint16(at: PlainFrame.IPv4.fragment) & IPv4Header.fragmentMask == 0,
                Int(frame.uint16(at: PlainFrame.IPv4.length)) >= PlainFrame.IPv4.lengthWithPorts,
                IPProtocol.hasPorts(transport)
            else { return nil }
            return hash(
                .ipv4, frame, source: PlainFrame.IPv4.source,
                destination: PlainFrame.IPv4.destination, ports: PlainFrame.IPv4.transport,
                transport)
        case EtherType.ipv6:
            guard frame.byteCount >= PlainFrame.IPv6.transport + PortsHeader.byteCount else {
                return nil
            }
            let transport = frame.uint8(at: PlainFrame.IPv6.protocolNumber)
            guard frame.uint8(at: start) >> 4 == IPAddress.Family.ipv6.rawValue,
                Int(frame.uint16(at: PlainFrame.IPv6.length)) >= PlainFrame.IPv6.lengthWithPorts,
                IPProtocol.hasPorts(transport)
            else { return nil }
            return hash(
                .ipv6, frame, source: PlainFrame.IPv6.source,
                destination: PlainFrame.IPv6.destination, ports: PlainFrame.IPv6.transport,
                transport)
        default: return nil
        }
    }

    /// Returns the hash of a flow whose addresses and ports are at offsets of a frame.
    private static func hash(
        _ family: IPAddress.Family, _ frame: RawSpan, source: Int, destination: Int, ports: Int,
        _ transport: UInt8
    ) -> UInt32 {
        hash(
            IPAddress(family, frame, at: source), frame.uint16(at: ports + PortsHeader.source),
            IPAddress(family, frame, at: destination),
            frame.uint16(at: ports + PortsHeader.destination), transport)
    }

    /// Returns the hash of a frame without an IP packet.
    private static func otherHash(of frame: RawSpan, _ etherType: UInt16) -> UInt32 {
        // Below 0x600 it is a length, which differs from frame to frame (IEEE 802.3).
        let kind = etherType < 0x600 ? 0 : etherType
        let source = MACAddress(frame, at: EthernetHeader.source)
        let destination = MACAddress(frame, at: EthernetHeader.destination)
        return finish(source.value.mixed &+ destination.value.mixed, UInt64(kind) << 8)
    }

    private static func hash(
        _ source: IPAddress, _ sourcePort: UInt16, _ destination: IPAddress,
        _ destinationPort: UInt16, _ transport: UInt8
    ) -> UInt32 {
        // A sum is the same in both directions.
        finish(end(source, sourcePort) &+ end(destination, destinationPort), UInt64(transport))
    }

    /// Returns the hash of one end of a flow.
    private static func end(_ address: IPAddress, _ port: UInt16) -> UInt64 {
        // The port is spread over all bits first, so that it meets no address's by addition.
        (address.low &+ UInt64(port) &* 0x9e37_79b9_7f4a_7c15).mixed
            &+ (address.family == .ipv4 ? 0 : (address.high ^ UInt64(port)).mixed)
    }

    private static func finish(_ ends: UInt64, _ kind: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: (ends ^ kind).mixed >> 32)
    }

    /// Returns the outer source port of a hash: its upper bits choose it.
    package static func port(of hash: UInt32) -> UInt16 {
        ports.lowerBound + UInt16(index(of: hash, count: ports.count))
    }

    /// Returns which of some equal parts of all ports has the port of a hash.
    ///
    /// A sender with a socket for each part therefore sends from the part that the hash's own port
    /// is in.
    ///
    /// - Parameters:
    ///   - hash: The hash of a flow.
    ///   - count: The number of parts, which must be positive.
    /// - Returns: The part's index.
    @inlinable
    package static func index(of hash: UInt32, count: Int) -> Int {
        Int((UInt64(hash) &* UInt64(count)) >> 32)
    }
}
