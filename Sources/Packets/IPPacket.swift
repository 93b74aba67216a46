package import Addressing

/// The addresses and ports of an IP packet, and what stands in their way.
package struct IPPacket: Equatable, Sendable {
    package let source: IPAddress
    package let destination: IPAddress
    /// What the packet carries, behind all extension headers that could be read.
    package var transport: UInt8
    /// Where that begins in the frame, or nil if the headers do not lead there.
    package var transportOffset: Int?
    package var fragment: Fragment?
    /// How many extension headers lie between the IPv6 header and the transport.
    package var extensionHeaderCount = 0
    /// Absent for protocols without ports, fragments, and packets that end before them. An ICMP echo
    /// has its identifier as both of them, which is how connection tracking tells echoes apart.
    package var ports: Ports?
    /// The ports in the first piece of a datagram, which all its pieces belong to.
    package var firstFragmentPorts: Ports?

    package struct Ports: Hashable, Sendable {
        package let source: UInt16
        package let destination: UInt16

        package init(source: UInt16, destination: UInt16) {
            (self.source, self.destination) = (source, destination)
        }
    }

    /// A piece of a datagram. All pieces have the same addresses and identification.
    package struct Fragment: Hashable, Sendable {
        package let identification: UInt32
        /// Where the piece belongs, in bytes.
        package let byteOffset: Int
        package let isLast: Bool
    }

    /// Headers past this many are not walked: RFC 8200 has seven kinds, and none but destination
    /// options may come twice, so a longer chain is made to cost time.
    package static let extensionHeaderCountMax = 8

    /// Reads the packet that begins at an offset of the frame. Nil if its fixed header is not all
    /// there or has another version.
    package init?(_ family: IPAddress.Family, in frame: RawSpan, at offset: Int) {
        let fixedByteCount = family == .ipv4 ? 20 : 40
        guard offset + fixedByteCount <= frame.byteCount,
            frame.uint8(at: offset) >> 4 == family.rawValue
        else { return nil }
        let end: Int
        switch family {
        case .ipv4:
            source = IPAddress(.ipv4, frame, at: offset + 12)
            destination = IPAddress(.ipv4, frame, at: offset + 16)
            transport = frame.uint8(at: offset + 9)
            end = Self.end(of: frame, claimed: offset, frame.uint16(at: offset + 2))
            readIPv4(frame, at: offset, end: end)
        case .ipv6:
            source = IPAddress(.ipv6, frame, at: offset + 8)
            destination = IPAddress(.ipv6, frame, at: offset + 24)
            transport = frame.uint8(at: offset + 6)
            end = Self.end(of: frame, claimed: offset + 40, frame.uint16(at: offset + 4))
            walkIPv6(frame, from: offset + 40, end: end)
        }
        readPorts(frame, end: end)
    }

    /// Where the packet ends: what lies behind its length is padding, which the next hop drops. A
    /// length of 0 is how the kernel marks a packet larger than the field can say.
    private static func end(of frame: RawSpan, claimed start: Int, _ byteCount: UInt16) -> Int {
        byteCount == 0 ? frame.byteCount : min(frame.byteCount, start + Int(byteCount))
    }

    private mutating func readIPv4(_ frame: RawSpan, at offset: Int, end: Int) {
        let flags = frame.uint16(at: offset + 6)
        if flags & 0x3fff != 0 {
            fragment = Fragment(
                identification: UInt32(frame.uint16(at: offset + 4)),
                byteOffset: Int(flags & 0x1fff) * 8, isLast: flags & 0x2000 == 0)
        }
        let headerByteCount = Int(frame.uint8(at: offset) & 0x0f) * 4
        if headerByteCount >= 20, offset + headerByteCount <= end {
            transportOffset = offset + headerByteCount
        }
    }

    /// RFC 8200, 4.1: hop-by-hop options, routing, fragment, destination options; and the later
    /// ones of the same form: mobility, HIP, shim6. Authentication counts its length in words.
    private mutating func walkIPv6(_ frame: RawSpan, from start: Int, end: Int) {
        var offset = start
        while true {
            guard IPv6Extension.isKnown(transport) else {
                transportOffset = offset <= end ? offset : nil
                return
            }
            guard extensionHeaderCount < Self.extensionHeaderCountMax, offset + 8 <= end else {
                return
            }
            let kind = transport
            transport = frame.uint8(at: offset)
            extensionHeaderCount += 1
            let length = Int(frame.uint8(at: offset + 1))
            switch kind {
            case IPv6Extension.fragment:
                let field = frame.uint16(at: offset + 2)
                fragment = Fragment(
                    identification: frame.uint32(at: offset + 4),
                    byteOffset: Int(field & 0xfff8), isLast: field & 1 == 0)
                // Behind a later piece's fragment header lies the middle of something.
                if field & 0xfff8 != 0 { return }
                offset += 8
            case IPv6Extension.authentication: offset += (length + 2) * 4
            default: offset += (length + 1) * 8
            }
        }
    }

    private mutating func readPorts(_ frame: RawSpan, end: Int) {
        guard let offset = transportOffset, offset + 4 <= end else { return }
        let found: Ports
        if IPProtocol.hasPorts(transport) {
            found = Ports(
                source: frame.uint16(at: offset), destination: frame.uint16(at: offset + 2))
        } else if offset + 6 <= end, isEcho(frame.uint8(at: offset)) {
            let identifier = frame.uint16(at: offset + 4)
            found = Ports(source: identifier, destination: identifier)
        } else {
            return
        }
        switch fragment?.byteOffset {
        case nil: ports = found
        case 0: firstFragmentPorts = found
        default: break
        }
    }

    /// RFC 792 and RFC 4443: an echo request or an echo reply.
    private func isEcho(_ type: UInt8) -> Bool {
        switch transport {
        case IPProtocol.icmp where source.family == .ipv4: type == 8 || type == 0
        case IPProtocol.icmpv6 where source.family == .ipv6: type == 128 || type == 129
        default: false
        }
    }

    /// Whether a first piece of this datagram would have ports: what a piece that came before it may
    /// have to wait for.
    package var mayHavePorts: Bool {
        IPProtocol.hasPorts(transport) || IPv6Extension.isKnown(transport)
            || transport == (source.family == .ipv4 ? IPProtocol.icmp : IPProtocol.icmpv6)
    }
}

/// What all pieces of a datagram have in common (RFC 791, RFC 8200 4.5).
package struct DatagramKey: Hashable, Sendable {
    package let source: IPAddress
    package let destination: IPAddress
    package let identification: UInt32
    /// IPv6 does not tell datagrams apart by it; there it is 0.
    package let transport: UInt8
}

extension IPPacket {
    /// The datagram that this is a piece of; nil if it is whole.
    package var datagram: DatagramKey? {
        guard let fragment else { return nil }
        return DatagramKey(
            source: source, destination: destination, identification: fragment.identification,
            transport: source.family == .ipv4 ? transport : 0)
    }
}

/// The IPv6 headers that can stand between the fixed header and the transport.
package enum IPv6Extension {
    package static let fragment: UInt8 = 44
    package static let authentication: UInt8 = 51
    /// Hop-by-hop, routing, fragment, authentication, destination options, mobility, HIP, shim6.
    package static func isKnown(_ number: UInt8) -> Bool {
        switch number {
        case 0, 43, fragment, authentication, 60, 135, 139, 140: true
        default: false
        }
    }

    package static let numbers = (0...UInt8.max).filter(isKnown)
}

extension FlowKey {
    /// The direction in which a packet goes, by the ports that it has or was given.
    package init(_ packet: IPPacket) {
        self.init(
            transport: packet.transport, source: packet.source, destination: packet.destination,
            sourcePort: packet.ports?.source ?? 0, destinationPort: packet.ports?.destination ?? 0)
    }
}
