import Addressing
import Packets
import Security

extension DescribedPacket {
    /// The flow's community id, version 1 with the seed 0, by which Zeek, Suricata and Wireshark name it.
    ///
    /// Both directions have the same. Nil if OpenSSL refuses SHA-1. The layout is that of the
    /// specification at github.com/corelight/community-id-spec.
    package var communityID: String? {
        let ports = communityPorts
        var (first, last) = ((source.address, ports?.0), (destination.address, ports?.1))
        // The end with the lower address comes first, and with equal addresses the one with the lower port.
        if (last.0, last.1 ?? 0) < (first.0, first.1 ?? 0) { swap(&first, &last) }
        var bytes: [UInt8] = [0, 0] + first.0.bytes + last.0.bytes + [transport, 0]
        if let firstPort = first.1, let lastPort = last.1 {
            bytes.append(bigEndian: firstPort)
            bytes.append(bigEndian: lastPort)
        }
        return sha1Base64(of: bytes).map { "1:\($0)" }
    }

    /// Both ports; of an echo request its type and that of its reply; nil if the protocol has none.
    private var communityPorts: (UInt16, UInt16)? {
        switch transport {
        case IPProtocol.icmp:
            (UInt16(ICMPHeader.echoRequest), UInt16(ICMPHeader.echoReply))
        case IPProtocol.icmpv6:
            (UInt16(ICMPHeader.echoRequestV6), UInt16(ICMPHeader.echoReplyV6))
        default:
            if let from = source.port, let to = destination.port { (from, to) } else { nil }
        }
    }
}
