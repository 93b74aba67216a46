package import Addressing

/// A change of a packet's addresses and ports, as the node's NAT makes it further on.
///
/// All checksums that cover a changed field are updated: the IPv4 header's, the transport's (the
/// whole one, or a partial one, which holds the pseudo-header's sum only), and in an ICMP error
/// both those of the quoted packet and its own.
package struct Translation: Hashable, Sendable {
    /// The address to replace, as source or as destination, with the port beside it.
    package let address: IPAddress
    package let port: UInt16
    package let newAddress: IPAddress
    package let newPort: UInt16
    /// The port of the other end, whose address stays.
    ///
    /// NAT changes it only if two flows would otherwise look alike.
    package let peerPort: UInt16
    package let newPeerPort: UInt16

    /// Translates a call to a service, and its replies, into the form that the backend sees.
    ///
    /// Nil if the backend's address is of another family.
    package init?(_ flow: TrackedFlow) {
        guard flow.original.destination.family == flow.reply.source.family else { return nil }
        address = flow.original.destination
        port = flow.original.destinationPort
        newAddress = flow.reply.source
        newPort = flow.reply.sourcePort
        peerPort = flow.original.sourcePort
        newPeerPort = flow.reply.destinationPort
    }

    /// Translates the packet in a frame.
    ///
    /// - Parameters:
    ///   - frame: an untagged Ethernet frame.
    ///   - packet: the headers of that frame.
    ///   - hasPartialChecksum: whether the transport's checksum holds the pseudo-header's sum only.
    package func apply(
        to frame: inout MutableRawSpan, _ packet: IPPacket, hasPartialChecksum: Bool
    ) {
        let quoted = packet.quoted(in: frame.bytes)
        let quotedOffset = packet.quotedOffset(in: frame.bytes)
        // Only the first fragment of a datagram has a transport header.
        let hasTransport = packet.fragment.map { $0.byteOffset == 0 } ?? true
        var editor = Editor(
            packet, hasPartialChecksum: hasPartialChecksum, hasTransport: hasTransport)
        editor.translate(&frame, at: EthernetHeader.byteCount, self)
        if let quoted, let quotedOffset, let icmp = packet.transportOffset {
            var inner = Editor(
                quoted, hasPartialChecksum: false, hasTransport: quoted.fragment == nil)
            inner.outerChecksum = icmp + ICMPHeader.checksum
            inner.translate(&frame, at: quotedOffset, self)
        }
    }
}

/// An editor of one packet's fields that keeps the checksums over them right.
private struct Editor {
    private let packet: IPPacket
    private let hasPartialChecksum: Bool
    /// The offset of the transport's checksum; nil if there is none to update.
    private var transportChecksum: Int?
    private var ipChecksum: Int?
    /// The offset of the checksum of an ICMP error that quotes this packet.
    var outerChecksum: Int?

    init(_ packet: IPPacket, hasPartialChecksum: Bool, hasTransport: Bool) {
        self.packet = packet
        self.hasPartialChecksum = hasPartialChecksum
        guard hasTransport, let transport = packet.transportOffset else { return }
        switch packet.transport {
        case IPProtocol.tcp: transportChecksum = transport + TCPHeader.checksum
        case IPProtocol.udp: transportChecksum = transport + UDPHeader.checksum
        case IPProtocol.icmpv6: transportChecksum = transport + ICMPHeader.checksum
        default: break
        }
    }

    mutating func translate(
        _ frame: inout MutableRawSpan, at offset: Int, _ translation: Translation
    ) {
        let family = packet.source.family
        ipChecksum = family == .ipv4 ? offset + IPv4Header.checksum : nil
        if let checksum = transportChecksum, checksum + 2 > frame.byteCount {
            transportChecksum = nil
        }
        // Over IPv4, a UDP checksum of 0 means that there is none (RFC 768).
        if packet.transport == IPProtocol.udp, let checksum = transportChecksum,
            family == .ipv4, frame.bytes.uint16(at: checksum) == 0
        {
            transportChecksum = nil
        }
        let sourceOffset = offset + family.sourceOffset
        if packet.source == translation.address {
            replaceAddress(&frame, at: sourceOffset, translation.newAddress)
            replacePorts(&frame, isReply: true, translation)
        }
        if packet.destination == translation.address {
            replaceAddress(&frame, at: sourceOffset + family.byteCount, translation.newAddress)
            replacePorts(&frame, isReply: false, translation)
        }
        finishSCTP(&frame, at: offset)
    }

    private func replaceAddress(
        _ frame: inout MutableRawSpan, at offset: Int, _ address: IPAddress
    ) {
        for index in stride(from: 0, to: address.family.byteCount, by: 2) {
            replace(&frame, at: offset + index, address.word(at: index), isInPseudoHeader: true)
        }
    }

    private func replacePorts(
        _ frame: inout MutableRawSpan, isReply: Bool, _ translation: Translation
    ) {
        guard IPProtocol.hasPorts(packet.transport), transportHasPorts(frame),
            let transport = packet.transportOffset
        else { return }
        let (source, destination) = (
            transport + PortsHeader.source, transport + PortsHeader.destination
        )
        let (near, far) = isReply ? (source, destination) : (destination, source)
        if frame.bytes.uint16(at: near) == translation.port {
            replace(&frame, at: near, translation.newPort, isInPseudoHeader: false)
        }
        if translation.peerPort != translation.newPeerPort,
            frame.bytes.uint16(at: far) == translation.peerPort
        {
            replace(&frame, at: far, translation.newPeerPort, isInPseudoHeader: false)
        }
    }

    /// Computes SCTP's checksum anew, because a CRC32c cannot be updated field by field.
    ///
    /// It stays as it is if the packet is not all there, or the sender has left the checksum to the
    /// device (RFC 9260, 6.8).
    private func finishSCTP(_ frame: inout MutableRawSpan, at offset: Int) {
        guard packet.transport == IPProtocol.sctp, !hasPartialChecksum, outerChecksum == nil,
            packet.fragment == nil, let transport = packet.transportOffset
        else { return }
        let family = packet.source.family
        let length = Int(frame.bytes.uint16(at: offset + family.lengthOffset))
        let end = offset + family.lengthStart + length
        guard end <= frame.byteCount, transport + SCTPHeader.byteCount <= end else { return }
        let field = transport + SCTPHeader.checksum
        frame.storeBytes(of: 0, toByteOffset: field, as: UInt32.self)
        let checksum = Checksum.crc32c(of: frame.bytes.extracting(transport..<end))
        frame.storeBytes(of: checksum.littleEndian, toByteOffset: field, as: UInt32.self)
    }

    private func transportHasPorts(_ frame: borrowing MutableRawSpan) -> Bool {
        guard let transport = packet.transportOffset,
            transport + PortsHeader.byteCount <= frame.byteCount
        else { return false }
        return packet.fragment.map { $0.byteOffset == 0 } ?? true
    }

    /// Replaces two bytes and updates the checksums that cover them.
    ///
    /// Addresses are covered by the IPv4 header's checksum, and by the transport's through its
    /// pseudo-header. Ports are covered by the transport's only.
    private func replace(
        _ frame: inout MutableRawSpan, at offset: Int, _ new: UInt16, isInPseudoHeader: Bool
    ) {
        let old = frame.bytes.uint16(at: offset)
        store(new, at: offset, in: &frame)
        if isInPseudoHeader, let ipChecksum { update(&frame, at: ipChecksum, old, new) }
        guard let transportChecksum else {
            if let outerChecksum { update(&frame, at: outerChecksum, old, new) }
            return
        }
        let before = frame.bytes.uint16(at: transportChecksum)
        if hasPartialChecksum {
            guard isInPseudoHeader else { return }
            store(
                Checksum.updatedSum(before, from: old, to: new), at: transportChecksum, in: &frame)
        } else {
            var after = Checksum.updated(before, from: old, to: new)
            if packet.transport == IPProtocol.udp, after == 0 { after = 0xffff }
            store(after, at: transportChecksum, in: &frame)
        }
        if let outerChecksum {
            update(&frame, at: outerChecksum, old, new)
            update(&frame, at: outerChecksum, before, frame.bytes.uint16(at: transportChecksum))
        }
    }

    private func update(
        _ frame: inout MutableRawSpan, at offset: Int, _ old: UInt16, _ new: UInt16
    ) {
        guard offset + 2 <= frame.byteCount else { return }
        let before = frame.bytes.uint16(at: offset)
        let after = Checksum.updated(before, from: old, to: new)
        store(after, at: offset, in: &frame)
        // The ICMP error's checksum covers the quoted header's checksum as well.
        if offset == ipChecksum, let outerChecksum {
            update(&frame, at: outerChecksum, before, after)
        }
    }

    private func store(_ value: UInt16, at offset: Int, in frame: inout MutableRawSpan) {
        frame.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
}

extension IPAddress {
    /// Returns two bytes of the address, counted from its first byte in a packet.
    fileprivate func word(at offset: Int) -> UInt16 {
        let (number, last) = family == .ipv4 ? (low, 2) : (offset < 8 ? high : low, 6)
        return UInt16(truncatingIfNeeded: number >> UInt64((last - offset % 8) * 8))
    }
}
