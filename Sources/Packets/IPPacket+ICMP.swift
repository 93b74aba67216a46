import Addressing

/// ICMP messages that speak about other packets.
extension IPPacket {
    /// The ICMP types that quote a packet: unreachable, source quench, redirect, time exceeded and
    /// parameter problem (RFC 792); for ICMPv6 all below 128 (RFC 4443).
    package static let icmpErrorTypes: [UInt8] = [3, 4, 5, 11, 12]

    /// Where the quoted packet begins in the frame, if this one is an ICMP error.
    package func quotedOffset(in frame: RawSpan) -> Int? {
        guard fragment == nil, let offset = transportOffset, offset + 8 <= frame.byteCount else {
            return nil
        }
        let type = frame.uint8(at: offset)
        let isError =
            switch transport {
            case IPProtocol.icmp where source.family == .ipv4: Self.icmpErrorTypes.contains(type)
            case IPProtocol.icmpv6 where source.family == .ipv6: type < 128
            default: false
            }
        return isError ? offset + 8 : nil
    }

    /// The packet that an ICMP error is about, as far as it is quoted.
    package func quoted(in frame: RawSpan) -> IPPacket? {
        guard let offset = quotedOffset(in: frame) else { return nil }
        return IPPacket(source.family, in: frame, at: offset)
    }

    /// The address that a neighbour solicitation asks for (RFC 4861, 4.3).
    func solicitedTarget(in frame: RawSpan) -> IPAddress? {
        guard transport == IPProtocol.icmpv6, fragment == nil, let offset = transportOffset,
            offset + 24 <= frame.byteCount, frame.uint8(at: offset) == 135
        else { return nil }
        return IPAddress(.ipv6, frame, at: offset + 8)
    }
}
