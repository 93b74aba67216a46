package import Addressing

/// Gives one end of a packet another address and port, as the node's NAT does on the packet's way.
///
/// All checksums that cover what is changed are changed with it: the IPv4 header's, the transport's
/// (in full, or the pseudo-header's part where the kernel has left the rest to be done), and inside
/// an ICMP error those of the packet that it quotes and its own.
package struct Translation: Hashable, Sendable {
    /// What is replaced, wherever it stands as source or destination, with the port beside it.
    package let address: IPAddress
    package let port: UInt16
    package let newAddress: IPAddress
    package let newPort: UInt16
    /// The port of the other end, which keeps its address. It changes only where two calls would
    /// otherwise look alike.
    package let peerPort: UInt16
    package let newPeerPort: UInt16

    /// Makes of a call to a service, and of what comes back, what the backend sees. Nil if that has
    /// an address of another family.
    package init?(_ flow: TrackedFlow) {
        guard flow.original.destination.family == flow.reply.source.family else { return nil }
        address = flow.original.destination
        port = flow.original.destinationPort
        newAddress = flow.reply.source
        newPort = flow.reply.sourcePort
        peerPort = flow.original.sourcePort
        newPeerPort = flow.reply.destinationPort
    }

    /// Translates the packet in a frame whose headers have been read. An unfinished checksum is one
    /// that holds the pseudo-header's sum only, as on a packet that has not met a wire yet.
    package func apply(
        to frame: inout MutableRawSpan, _ packet: IPPacket, isUnfinished: Bool
    ) {
        let offset = Headers.ethernetByteCount
        let quoted = packet.quoted(in: frame.bytes)
        let quotedOffset = packet.quotedOffset(in: frame.bytes)
        // Only the first piece of a datagram has a transport header.
        let hasTransport = packet.fragment.map { $0.byteOffset == 0 } ?? true
        var editor = Editor(packet, isUnfinished: isUnfinished, hasTransport: hasTransport)
        editor.translate(&frame, at: offset, self)
        if let quoted, let quotedOffset, let icmp = packet.transportOffset {
            var inner = Editor(quoted, isUnfinished: false, hasTransport: quoted.fragment == nil)
            inner.covering = icmp + 2
            inner.translate(&frame, at: quotedOffset, self)
        }
    }
}

/// Changes words of a packet and the checksums that cover them.
private struct Editor {
    private let packet: IPPacket
    private let isUnfinished: Bool
    /// Where the transport's checksum is, if it has one and it is there.
    private var transportChecksum: Int?
    private var ipChecksum: Int?
    /// Where the checksum is of an ICMP error that quotes all of this.
    var covering: Int?

    init(_ packet: IPPacket, isUnfinished: Bool, hasTransport: Bool) {
        self.packet = packet
        self.isUnfinished = isUnfinished
        guard hasTransport, let transport = packet.transportOffset else { return }
        switch packet.transport {
        case IPProtocol.tcp: transportChecksum = transport + 16
        case IPProtocol.udp: transportChecksum = transport + 6
        case IPProtocol.icmpv6: transportChecksum = transport + 2
        default: break
        }
    }

    mutating func translate(
        _ frame: inout MutableRawSpan, at offset: Int, _ translation: Translation
    ) {
        let isIPv4 = packet.source.family == .ipv4
        ipChecksum = isIPv4 ? offset + 10 : nil
        if let checksum = transportChecksum, checksum + 2 > frame.byteCount {
            transportChecksum = nil
        }
        // A UDP checksum of 0 says that there is none (RFC 768).
        if packet.transport == IPProtocol.udp, let checksum = transportChecksum,
            isIPv4, frame.bytes.uint16(at: checksum) == 0
        {
            transportChecksum = nil
        }
        let sourceOffset = offset + (isIPv4 ? 12 : 8)
        let addressByteCount = packet.source.family.byteCount
        if packet.source == translation.address {
            replaceAddress(&frame, at: sourceOffset, translation.newAddress)
            replacePorts(&frame, isAnswer: true, translation)
        }
        if packet.destination == translation.address {
            replaceAddress(&frame, at: sourceOffset + addressByteCount, translation.newAddress)
            replacePorts(&frame, isAnswer: false, translation)
        }
        finishSCTP(&frame, at: offset)
    }

    private func replaceAddress(
        _ frame: inout MutableRawSpan, at offset: Int, _ address: IPAddress
    ) {
        for index in stride(from: 0, to: address.family.byteCount, by: 2) {
            replace(&frame, at: offset + index, address.word(at: index), inPseudoHeader: true)
        }
    }

    private func replacePorts(
        _ frame: inout MutableRawSpan, isAnswer: Bool, _ translation: Translation
    ) {
        guard IPProtocol.hasPorts(packet.transport), transportHasPorts(frame),
            let transport = packet.transportOffset
        else { return }
        let (near, far) = isAnswer ? (transport, transport + 2) : (transport + 2, transport)
        if frame.bytes.uint16(at: near) == translation.port {
            replace(&frame, at: near, translation.newPort, inPseudoHeader: false)
        }
        if translation.peerPort != translation.newPeerPort,
            frame.bytes.uint16(at: far) == translation.peerPort
        {
            replace(&frame, at: far, translation.newPeerPort, inPseudoHeader: false)
        }
    }

    /// SCTP's checksum is no sum, so it is made anew, where the whole packet is there and somebody
    /// has made one before (RFC 9260, 6.8).
    private func finishSCTP(_ frame: inout MutableRawSpan, at offset: Int) {
        guard packet.transport == IPProtocol.sctp, !isUnfinished, covering == nil,
            packet.fragment == nil, let transport = packet.transportOffset
        else { return }
        let isIPv4 = packet.source.family == .ipv4
        let length = Int(frame.bytes.uint16(at: offset + (isIPv4 ? 2 : 4)))
        let end = offset + length + (isIPv4 ? 0 : 40)
        guard end <= frame.byteCount, transport + 12 <= end else { return }
        frame.storeBytes(of: 0, toByteOffset: transport + 8, as: UInt32.self)
        let checksum = Checksum.crc32c(of: frame.bytes.extracting(transport..<end))
        frame.storeBytes(of: checksum.littleEndian, toByteOffset: transport + 8, as: UInt32.self)
    }

    private func transportHasPorts(_ frame: borrowing MutableRawSpan) -> Bool {
        guard let transport = packet.transportOffset, transport + 4 <= frame.byteCount else {
            return false
        }
        return packet.fragment.map { $0.byteOffset == 0 } ?? true
    }

    /// Changes two bytes. The IPv4 header's checksum covers addresses; the transport's covers them,
    /// too, through its pseudo-header, and ports by themselves.
    private func replace(
        _ frame: inout MutableRawSpan, at offset: Int, _ new: UInt16, inPseudoHeader: Bool
    ) {
        let old = frame.bytes.uint16(at: offset)
        store(new, at: offset, in: &frame)
        if inPseudoHeader, let ipChecksum { update(&frame, at: ipChecksum, old, new) }
        guard let transportChecksum else {
            if let covering { update(&frame, at: covering, old, new) }
            return
        }
        let before = frame.bytes.uint16(at: transportChecksum)
        if isUnfinished {
            guard inPseudoHeader else { return }
            store(
                Checksum.updatedSum(before, from: old, to: new), at: transportChecksum, in: &frame)
        } else {
            var after = Checksum.updated(before, from: old, to: new)
            if packet.transport == IPProtocol.udp, after == 0 { after = 0xffff }
            store(after, at: transportChecksum, in: &frame)
        }
        if let covering {
            update(&frame, at: covering, old, new)
            update(&frame, at: covering, before, frame.bytes.uint16(at: transportChecksum))
        }
    }

    private func update(
        _ frame: inout MutableRawSpan, at offset: Int, _ old: UInt16, _ new: UInt16
    ) {
        guard offset + 2 <= frame.byteCount else { return }
        let before = frame.bytes.uint16(at: offset)
        let after = Checksum.updated(before, from: old, to: new)
        store(after, at: offset, in: &frame)
        // The quoted header's checksum is itself covered by the error's.
        if offset == ipChecksum, let covering { update(&frame, at: covering, before, after) }
    }

    private func store(_ value: UInt16, at offset: Int, in frame: inout MutableRawSpan) {
        frame.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
    }
}

extension IPAddress {
    /// Two bytes of the address as they stand in a packet, by their offset there.
    fileprivate func word(at offset: Int) -> UInt16 {
        let (number, last) = family == .ipv4 ? (low, 2) : (offset < 8 ? high : low, 6)
        return UInt16(truncatingIfNeeded: number >> UInt64((last - offset % 8) * 8))
    }
}
