package import Addressing

/// The headers of an IP packet: addresses, transport, ports, and the fragment it is.
package struct IPPacket: Equatable, Sendable {
    package let source: IPAddress
    package let destination: IPAddress
    /// The protocol behind all extension headers that could be read.
    package var transport: UInt8
    /// The offset of the transport's header in the frame, or nil if the headers do not lead there.
    package var transportOffset: Int?
    package var fragment: Fragment?
    /// The number of extension headers between the IPv6 header and the transport.
    package var extensionHeaderCount = 0
    /// The ports; nil for protocols without ports, fragments, and packets that end before them.
    ///
    /// An ICMP echo has its identifier as both ports, which is how connection tracking tells echoes
    /// apart.
    package var ports: Ports?
    /// The ports in the first fragment of a datagram, which hold for all its fragments.
    package var firstFragmentPorts: Ports?
    /// The part of a whole packet in asking for an answer; nil for what neither asks nor answers.
    package private(set) var opening: Opening?

    /// The ports of a packet, in its own direction.
    package struct Ports: Hashable, Sendable {
        package let source: UInt16
        package let destination: UInt16

        package init(source: UInt16, destination: UInt16) {
            (self.source, self.destination) = (source, destination)
        }
    }

    /// A fragment's part of its datagram.
    package struct Fragment: Hashable, Sendable {
        package let identification: UInt32
        /// The offset of this fragment's payload in the datagram's, in bytes.
        package let byteOffset: Int
        /// The length of this fragment's payload by its headers, in bytes; the frame may be cut.
        package let byteCount: Int
        package let isLast: Bool
    }

    /// The most extension headers that are read.
    ///
    /// RFC 8200 has seven kinds, of which only destination options may come twice. A longer chain
    /// is made to cost time.
    package static let extensionHeaderCountMax = 8

    /// Reads the packet that begins at an offset of the frame.
    ///
    /// Nil if the fixed header is not all there, or is of another version.
    package init?(_ family: IPAddress.Family, in frame: RawSpan, at offset: Int) {
        guard offset + family.headerByteCount <= frame.byteCount,
            frame.uint8(at: offset) >> 4 == family.rawValue
        else { return nil }
        let end: Int
        switch family {
        case .ipv4:
            source = IPAddress(.ipv4, frame, at: offset + IPv4Header.source)
            destination = IPAddress(.ipv4, frame, at: offset + IPv4Header.destination)
            transport = frame.uint8(at: offset + IPv4Header.protocolNumber)
            end = Self.end(
                in: frame, from: offset, length: frame.uint16(at: offset + IPv4Header.totalLength))
            readIPv4(frame, at: offset, end: end)
        case .ipv6:
            source = IPAddress(.ipv6, frame, at: offset + IPv6Header.source)
            destination = IPAddress(.ipv6, frame, at: offset + IPv6Header.destination)
            transport = frame.uint8(at: offset + IPv6Header.nextHeader)
            end = Self.end(
                in: frame, from: offset + IPv6Header.byteCount,
                length: frame.uint16(at: offset + IPv6Header.payloadLength))
            readIPv6Extensions(frame, from: offset + IPv6Header.byteCount, end: end)
        }
        readPorts(frame, end: end)
    }

    /// Returns where the packet ends; what follows is padding, which the next hop drops.
    ///
    /// The kernel writes a length of 0 if the packet is longer than the field can say.
    private static func end(in frame: RawSpan, from start: Int, length: UInt16) -> Int {
        length == 0 ? frame.byteCount : min(frame.byteCount, start + Int(length))
    }

    private mutating func readIPv4(_ frame: RawSpan, at offset: Int, end: Int) {
        let field = frame.uint16(at: offset + IPv4Header.fragment)
        let headerByteCount = Int(frame.uint8(at: offset) & 0x0f) * 4
        if field & IPv4Header.fragmentMask != 0 {
            fragment = Fragment(
                identification: UInt32(frame.uint16(at: offset + IPv4Header.identification)),
                byteOffset: Int(field & IPv4Header.fragmentOffsetMask) * 8,
                byteCount: max(
                    0, Int(frame.uint16(at: offset + IPv4Header.totalLength)) - headerByteCount),
                isLast: field & IPv4Header.moreFragments == 0)
        }
        if headerByteCount >= IPv4Header.byteCount, offset + headerByteCount <= end {
            transportOffset = offset + headerByteCount
        }
    }

    /// Reads the extension headers up to the transport (RFC 8200, 4.1).
    private mutating func readIPv6Extensions(_ frame: RawSpan, from start: Int, end: Int) {
        var offset = start
        while true {
            guard IPv6Extension.isKnown(transport) else {
                transportOffset = offset <= end ? offset : nil
                return
            }
            guard extensionHeaderCount < Self.extensionHeaderCountMax,
                offset + IPv6ExtensionHeader.byteCount <= end
            else { return }
            let kind = transport
            transport = frame.uint8(at: offset + IPv6ExtensionHeader.nextHeader)
            extensionHeaderCount += 1
            let length = Int(frame.uint8(at: offset + IPv6ExtensionHeader.length))
            switch kind {
            case IPv6Extension.fragment:
                let field = frame.uint16(at: offset + IPv6ExtensionHeader.fragment)
                fragment = Fragment(
                    identification: frame.uint32(at: offset + IPv6ExtensionHeader.identification),
                    byteOffset: Int(field & IPv6ExtensionHeader.fragmentOffsetMask),
                    byteCount: max(
                        0,
                        Int(
                            frame.uint16(
                                at: start - IPv6Header.byteCount + IPv6Header.payloadLength))
                            - (offset + IPv6ExtensionHeader.byteCount - start)),
                    isLast: field & IPv6ExtensionHeader.moreFragments == 0)
                // The payload of a later fragment is the middle of something.
                if field & IPv6ExtensionHeader.fragmentOffsetMask != 0 { return }
                offset += IPv6ExtensionHeader.byteCount
            // An authentication header has its length in words (RFC 4302, 2.2).
            case IPv6Extension.authentication: offset += (length + 2) * 4
            default: offset += (length + 1) * 8
            }
        }
    }

    private mutating func readPorts(_ frame: RawSpan, end: Int) {
        guard let offset = transportOffset, offset + PortsHeader.byteCount <= end else { return }
        let found: Ports
        if IPProtocol.hasPorts(transport) {
            found = Ports(
                source: frame.uint16(at: offset + PortsHeader.source),
                destination: frame.uint16(at: offset + PortsHeader.destination))
        } else if offset + ICMPHeader.identifier + 2 <= end, isEcho(frame.uint8(at: offset)) {
            let identifier = frame.uint16(at: offset + ICMPHeader.identifier)
            found = Ports(source: identifier, destination: identifier)
        } else {
            return
        }
        switch fragment?.byteOffset {
        case nil: ports = found
        case 0: firstFragmentPorts = found
        default: break
        }
        // A fragment that is the first and the last is whole (RFC 6946).
        if fragment.map({ $0.byteOffset == 0 && $0.isLast }) ?? true {
            opening = Opening(transport, frame, at: offset, end: end)
        }
    }

    /// Whether an ICMP type is an echo request or reply (RFC 792, RFC 4443).
    private func isEcho(_ type: UInt8) -> Bool {
        switch transport {
        case IPProtocol.icmp where source.family == .ipv4:
            type == ICMPHeader.echoRequest || type == ICMPHeader.echoReply
        case IPProtocol.icmpv6 where source.family == .ipv6:
            type == ICMPHeader.echoRequestV6 || type == ICMPHeader.echoReplyV6
        default: false
        }
    }

    /// Whether the first fragment of this packet's datagram may have ports.
    package var mayHavePorts: Bool {
        IPProtocol.hasPorts(transport) || IPv6Extension.isKnown(transport)
            || transport == (source.family == .ipv4 ? IPProtocol.icmp : IPProtocol.icmpv6)
    }
}

/// A fragmented datagram: what all its fragments have in common (RFC 791; RFC 8200, 4.5).
package struct DatagramKey: Hashable, Sendable {
    package let source: IPAddress
    package let destination: IPAddress
    package let identification: UInt32
    /// The protocol for IPv4; 0 for IPv6, which does not tell datagrams apart by it.
    package let transport: UInt8
}

extension IPPacket {
    /// The datagram of which this packet is a fragment; nil if it is whole.
    package var datagram: DatagramKey? {
        guard let fragment else { return nil }
        return DatagramKey(
            source: source, destination: destination, identification: fragment.identification,
            transport: source.family == .ipv4 ? transport : 0)
    }
}

/// The IPv6 headers that can stand between the fixed header and the transport.
package enum IPv6Extension {
    package static let hopByHop: UInt8 = 0
    package static let routing: UInt8 = 43
    package static let fragment: UInt8 = 44
    package static let authentication: UInt8 = 51

    /// Whether a number is that of an extension header whose length can be read.
    ///
    /// Hop-by-hop options, routing, fragment, authentication, destination options, mobility, HIP,
    /// and shim6.
    package static func isKnown(_ number: UInt8) -> Bool {
        switch number {
        case hopByHop, routing, fragment, authentication, 60, 135, 139, 140: true
        default: false
        }
    }

    package static let numbers = (0...UInt8.max).filter(isKnown)
}

extension FlowKey {
    /// Takes the flow and direction of a packet, with the ports that it has or was given.
    package init(_ packet: IPPacket) {
        self.init(
            transport: packet.transport, source: packet.source, destination: packet.destination,
            sourcePort: packet.ports?.source ?? 0, destinationPort: packet.ports?.destination ?? 0)
    }
}
