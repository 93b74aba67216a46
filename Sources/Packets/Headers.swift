package import Addressing

/// What the rule asks of a frame: its Ethernet addresses, and its IP packet if it carries one.
///
/// Frames come from outside, so nothing they claim is believed before it is compared with the bytes
/// there are. What cannot be read is absent; nothing here traps.
package struct Headers: Equatable, Sendable {
    package var destination: MACAddress
    package var source: MACAddress
    package var etherType: UInt16
    /// Nil for other protocols, and where the fixed part of the header is cut or of another version.
    package var packet: IPPacket?
    /// Whom an ARP request or a neighbour solicitation asks for.
    package var neighbourTarget: IPAddress?
    /// Whom an ARP packet comes from: it has no IP header to say so.
    package var arpSender: IPAddress?

    package static let ethernetByteCount = 14

    package init(_ frame: RawSpan) {
        guard frame.byteCount >= Self.ethernetByteCount else {
            (destination, source, etherType) = (MACAddress(value: 0), MACAddress(value: 0), 0)
            return
        }
        destination = MACAddress(frame, at: 0)
        source = MACAddress(frame, at: 6)
        etherType = frame.uint16(at: 12)
        switch etherType {
        case EtherType.ipv4: packet = IPPacket(.ipv4, in: frame, at: Self.ethernetByteCount)
        case EtherType.ipv6:
            packet = IPPacket(.ipv6, in: frame, at: Self.ethernetByteCount)
            neighbourTarget = packet?.solicitedTarget(in: frame)
        case EtherType.arp: readARP(frame)
        default: break
        }
    }

    /// ARP for IPv4 over Ethernet (RFC 826): both senders' and both targets' addresses.
    private mutating func readARP(_ frame: RawSpan) {
        let start = Self.ethernetByteCount
        guard frame.byteCount >= start + 28, frame.uint16(at: start + 2) == EtherType.ipv4,
            frame.uint16(at: start + 4) == 0x0604
        else { return }
        arpSender = IPAddress(.ipv4, frame, at: start + 14)
        neighbourTarget = IPAddress(.ipv4, frame, at: start + 24)
    }
}

/// The EtherTypes that podwire looks into (`<linux/if_ether.h>`).
public enum EtherType {
    /// RFC 894.
    public static let ipv4: UInt16 = 0x0800
    /// RFC 826.
    public static let arp: UInt16 = 0x0806
    /// RFC 2464.
    public static let ipv6: UInt16 = 0x86dd
}

/// The IP protocols that podwire knows by number (RFC 790 and the registry that followed it).
public enum IPProtocol {
    /// RFC 792.
    public static let icmp: UInt8 = 1
    /// RFC 9293.
    public static let tcp: UInt8 = 6
    /// RFC 768.
    public static let udp: UInt8 = 17
    /// RFC 4443.
    public static let icmpv6: UInt8 = 58
    /// RFC 9260.
    public static let sctp: UInt8 = 132

    /// Whether its first four bytes are two ports.
    public static func hasPorts(_ number: UInt8) -> Bool {
        switch number {
        case tcp, udp, sctp: true
        default: false
        }
    }

    package static let withPorts = (0...UInt8.max).filter(hasPorts)
}
