import Addressing

/// ICMP messages about other packets.
extension IPPacket {
    /// Returns the offset of the quoted packet, if this packet is an ICMP error.
    package func quotedOffset(in frame: RawSpan) -> Int? {
        guard fragment == nil, let offset = transportOffset,
            offset + ICMPHeader.byteCount <= frame.byteCount
        else { return nil }
        let type = frame.uint8(at: offset + ICMPHeader.type)
        let isError =
            switch transport {
            case IPProtocol.icmp where source.family == .ipv4: ICMPHeader.errors.contains(type)
            case IPProtocol.icmpv6 where source.family == .ipv6: type < ICMPHeader.echoRequestV6
            default: false
            }
        return isError ? offset + ICMPHeader.byteCount : nil
    }

    /// Returns the packet that an ICMP error quotes, as far as it is there.
    package func quoted(in frame: RawSpan) -> IPPacket? {
        guard let offset = quotedOffset(in: frame) else { return nil }
        return IPPacket(source.family, in: frame, at: offset)
    }

    /// Returns the address that a neighbour solicitation asks for (RFC 4861, 4.3).
    func solicitedTarget(in frame: RawSpan) -> IPAddress? {
        let family = IPAddress.Family.ipv6
        guard transport == IPProtocol.icmpv6, fragment == nil, let offset = transportOffset,
            offset + ICMPHeader.solicitedTarget + family.byteCount <= frame.byteCount,
            frame.uint8(at: offset + ICMPHeader.type) == ICMPHeader.neighbourSolicitation
        else { return nil }
        return IPAddress(family, frame, at: offset + ICMPHeader.solicitedTarget)
    }
}
