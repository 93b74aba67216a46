package import Addressing

/// The headers that the rule looks at: Ethernet addresses, and the IP packet if there is one.
///
/// Frames come from outside, so every length is compared with the bytes there are before it is
/// used. What cannot be read is nil. Nothing here traps.
package struct Headers: Equatable, Sendable {
    package var destination: MACAddress
    package var source: MACAddress
    package var etherType: UInt16
    /// The packet; nil for other protocols, and if the fixed header is cut or of another version.
    package var packet: IPPacket?
    /// The address that an ARP request or a neighbour solicitation asks for.
    package var neighbourTarget: IPAddress?
    /// The sender of an ARP packet, which has no IP header to say so.
    package var arpSender: IPAddress?
    /// Whether this is an ARP request, with which a host speaks for itself.
    package var isARPRequest = false

    package init(_ frame: RawSpan) {
        guard frame.byteCount >= EthernetHeader.byteCount else {
            (destination, source, etherType) = (MACAddress(value: 0), MACAddress(value: 0), 0)
            return
        }
        destination = MACAddress(frame, at: EthernetHeader.destination)
        source = MACAddress(frame, at: EthernetHeader.source)
        etherType = frame.uint16(at: EthernetHeader.etherType)
        switch etherType {
        case EtherType.ipv4: packet = IPPacket(.ipv4, in: frame, at: EthernetHeader.byteCount)
        case EtherType.ipv6:
            packet = IPPacket(.ipv6, in: frame, at: EthernetHeader.byteCount)
            neighbourTarget = packet?.solicitedTarget(in: frame)
        case EtherType.arp: readARP(frame)
        default: break
        }
    }

    private mutating func readARP(_ frame: RawSpan) {
        let start = EthernetHeader.byteCount
        guard frame.byteCount >= start + ARPHeader.byteCount,
            frame.uint16(at: start + ARPHeader.protocolType) == EtherType.ipv4,
            frame.uint16(at: start + ARPHeader.addressByteCounts) == ARPHeader.ipv4OverEthernet
        else { return }
        isARPRequest = frame.uint16(at: start + ARPHeader.operation) == ARPHeader.request
        arpSender = IPAddress(.ipv4, frame, at: start + ARPHeader.senderAddress)
        neighbourTarget = IPAddress(.ipv4, frame, at: start + ARPHeader.targetAddress)
    }
}

/// The EtherTypes that podwire looks into (`<linux/if_ether.h>`).
public enum EtherType {
    /// IPv4 (RFC 894).
    public static let ipv4: UInt16 = 0x0800
    /// ARP (RFC 826).
    public static let arp: UInt16 = 0x0806
    /// IPv6 (RFC 2464).
    public static let ipv6: UInt16 = 0x86dd
}

/// The IP protocols that podwire knows by number (RFC 790, and IANA's registry after it).
public enum IPProtocol {
    /// ICMP (RFC 792).
    public static let icmp: UInt8 = 1
    /// TCP (RFC 9293).
    public static let tcp: UInt8 = 6
    /// UDP (RFC 768).
    public static let udp: UInt8 = 17
    /// ICMPv6 (RFC 4443).
    public static let icmpv6: UInt8 = 58
    /// SCTP (RFC 9260).
    public static let sctp: UInt8 = 132

    /// Whether a protocol's header begins with two ports.
    public static func hasPorts(_ number: UInt8) -> Bool {
        switch number {
        case tcp, udp, sctp: true
        default: false
        }
    }

    package static let withPorts = (0...UInt8.max).filter(hasPorts)
}
