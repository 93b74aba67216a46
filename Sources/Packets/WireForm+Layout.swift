import Addressing

extension WireForm {
    /// The layout of a frame's outermost IP packet, compared with the bytes there are.
    struct Layout: Sendable {
        let family: IPAddress.Family
        let protocolNumber: UInt8
        /// The offset of the IP header.
        let network: Int
        let transport: Int
        /// The offset of the transport's payload; only segmentation sets it.
        var payload: Int
        let end: Int
        /// The length of a hop-by-hop header with nothing but the jumbo payload option (RFC 2675).
        ///
        /// The kernel puts it into packets whose length field is too short, until it segments them.
        private(set) var jumboByteCount = 0

        /// The most tags before the packet, beside the one that the kernel has taken out.
        ///
        /// 802.1ad has two.
        private static let tagCountMax = 2

        init(_ frame: RawSpan) throws(Obstacle) {
            var offset = VLANTag.offset
            var tagCount = 0
            while true {
                guard offset + 2 <= frame.byteCount else { throw .notIP }
                guard VLANTag.isTag(frame.uint16(at: offset)) else { break }
                tagCount += 1
                guard tagCount <= Self.tagCountMax else { throw .notIP }
                offset += VLANTag.byteCount
            }
            switch frame.uint16(at: offset) {
            case EtherType.ipv4: family = .ipv4
            case EtherType.ipv6: family = .ipv6
            default: throw .notIP
            }
            network = offset + 2
            guard let packet = IPPacket(family, in: frame, at: network) else { throw .headers }
            guard packet.fragment == nil else { throw .fragment }
            guard let transport = packet.transportOffset else { throw .headers }
            self.transport = transport
            payload = transport
            protocolNumber = packet.transport
            end = try Self.end(family, frame, network)
            guard transport <= end else { throw .headers }
            try checkOptions(frame)
        }

        var transportByteCount: Int { end - transport }

        /// Returns where the packet ends by its own length.
        ///
        /// The kernel writes a length of 0 if the packet is longer than the field can say.
        private static func end(
            _ family: IPAddress.Family, _ frame: RawSpan, _ network: Int
        ) throws(Obstacle) -> Int {
            let start = network + family.lengthStart
            let byteCount = Int(frame.uint16(at: network + family.lengthOffset))
            if byteCount == 0, frame.byteCount - start > UInt16.max { return frame.byteCount }
            guard byteCount > 0, start + byteCount <= frame.byteCount else { throw .length }
            return start + byteCount
        }
    }
}

extension WireForm.Layout {
    /// Returns the sum of the pseudo-header without its length.
    fileprivate func pseudoHeader(_ frame: RawSpan) -> InternetSum {
        var sum = InternetSum()
        let start = network + family.sourceOffset
        sum.add(frame.extracting(start..<start + 2 * family.byteCount))
        sum.add(UInt16(protocolNumber))
        return sum
    }

    /// Returns the difference between the identifications of one segment and the next.
    ///
    /// A sender that leaves all identifications at 0 says that nobody may fragment (RFC 6864, 4.1).
    /// Else the kernel counts them up (`inet_gso_segment` in its af_inet.c).
    fileprivate func identificationStep(_ frame: RawSpan) -> Int {
        guard family == .ipv4 else { return 0 }
        let isFixed =
            frame.uint16(at: network + IPv4Header.identification) == 0
            && frame.uint16(at: network + IPv4Header.fragment) & IPv4Header.dontFragment != 0
        return isFixed ? 0 : 1
    }

    /// Returns the sum of what all segments have in common of an IPv4 header (RFC 791, 3.1).
    fileprivate func networkSum(_ frame: RawSpan) -> InternetSum {
        var sum = InternetSum()
        guard family == .ipv4 else { return sum }
        sum.add(frame.extracting(network..<transport))
        sum.remove(frame.uint16(at: network + IPv4Header.totalLength))
        sum.remove(frame.uint16(at: network + IPv4Header.identification))
        sum.remove(frame.uint16(at: network + IPv4Header.checksum))
        return sum
    }

    /// Returns the sum of what all segments have in common of pseudo-header and transport header.
    ///
    /// A TCP segment has its own sequence number, flags and checksum (RFC 9293, 3.1), a datagram
    /// its own length and checksum (RFC 768).
    fileprivate func transportSum(_ frame: RawSpan) -> InternetSum {
        var sum = pseudoHeader(frame)
        sum.add(frame.extracting(transport..<payload))
        if protocolNumber == IPProtocol.tcp {
            sum.remove(frame.uint16(at: transport + TCPHeader.sequence))
            sum.remove(frame.uint16(at: transport + TCPHeader.sequence + 2))
            sum.remove(frame.uint16(at: transport + TCPHeader.lengthAndFlags))
            sum.remove(frame.uint16(at: transport + TCPHeader.checksum))
        } else {
            sum.remove(frame.uint16(at: transport + UDPHeader.length))
            sum.remove(frame.uint16(at: transport + UDPHeader.checksum))
        }
        return sum
    }

    /// Checks IPv4 options and IPv6 extension headers for what prevents a repair.
    private mutating func checkOptions(_ frame: RawSpan) throws(WireForm.Obstacle) {
        switch family {
        case .ipv4: try checkIPv4Options(frame)
        case .ipv6: try checkIPv6Extensions(frame)
        }
    }

    /// Checks for a loose or strict source route with addresses to go (RFC 791, 3.1).
    ///
    /// The checksum covers the last of them.
    private func checkIPv4Options(_ frame: RawSpan) throws(WireForm.Obstacle) {
        var offset = network + IPv4Header.byteCount
        while offset < transport {
            let kind = frame.uint8(at: offset)
            if kind == 0 { return }
            if kind == 1 {
                offset += 1
                continue
            }
            guard offset + 2 <= transport else { throw .headers }
            let byteCount = Int(frame.uint8(at: offset + 1))
            guard byteCount >= 2, offset + byteCount <= transport else { throw .headers }
            if kind == 131 || kind == 137 {
                guard byteCount >= 3 else { throw .headers }
                if Int(frame.uint8(at: offset + 2)) <= byteCount { throw .sourceRoute }
            }
            offset += byteCount
        }
    }

    /// Checks for a routing header with addresses to go, and for the jumbo payload option.
    ///
    /// `IPPacket` has read the headers, so their lengths lead to the transport.
    private mutating func checkIPv6Extensions(_ frame: RawSpan) throws(WireForm.Obstacle) {
        var kind = frame.uint8(at: network + IPv6Header.nextHeader)
        var offset = network + IPv6Header.byteCount
        if frame.uint16(at: network + IPv6Header.payloadLength) == 0,
            kind == IPv6Extension.hopByHop
        {
            // The kernel puts no other option beside this one.
            guard frame.uint16(at: offset) & 0xff == 0, frame.uint16(at: offset + 2) == 0xc204
            else { throw .headers }
            jumboByteCount = 8
        }
        while offset < transport {
            if kind == IPv6Extension.routing,
                frame.uint8(at: offset + IPv6ExtensionHeader.segmentsLeft) != 0
            {
                throw .sourceRoute
            }
            // A packet was complete before it was authenticated.
            if kind == IPv6Extension.authentication { throw .headers }
            kind = frame.uint8(at: offset + IPv6ExtensionHeader.nextHeader)
            offset += (Int(frame.uint8(at: offset + IPv6ExtensionHeader.length)) + 1) * 8
        }
    }
}

extension WireForm.Work {
    init(_ frame: RawSpan, _ offload: Offload) throws(WireForm.Obstacle) {
        if case .other = offload.segmentation { throw .gsoType }
        let layout = try WireForm.Layout(frame)
        if offload.segmentation != .none {
            self = try Self.segmentation(frame, layout, offload)
        } else {
            self = try Self.completion(frame, layout, offload)
        }
    }

    /// Prepares the completion of a partial checksum: the packet's own, or one inside the packet.
    private static func completion(
        _ frame: RawSpan, _ layout: WireForm.Layout, _ offload: Offload
    ) throws(WireForm.Obstacle) -> Self {
        let start = Int(offload.checksumStart)
        let offset = Int(offload.checksumOffset)
        guard start >= layout.transport, offset % 2 == 0, start + offset + 2 <= layout.end else {
            throw .checksumOffset
        }
        if start == layout.transport {
            switch layout.protocolNumber {
            case IPProtocol.tcp, IPProtocol.udp: return try ownSum(frame, layout, offset)
            case IPProtocol.sctp:
                guard offset == SCTPHeader.checksum, start + SCTPHeader.byteCount <= layout.end
                else { throw .checksumOffset }
                return .crc(
                    WireForm.Coverage(
                        bytes: start..<layout.end, field: start + offset, start: InternetSum(),
                        avoidsZero: false))
            default: break
            }
        } else {
            // TCP and SCTP carry no packet, and UDP carries one behind its own header.
            switch layout.protocolNumber {
            case IPProtocol.tcp, IPProtocol.sctp: throw .checksumOffset
            case IPProtocol.udp where start < layout.transport + UDPHeader.byteCount:
                throw .checksumOffset
            default: break
            }
        }
        // The checksum of a packet inside. No translation has been there, so the field holds the
        // pseudo-header's sum. Only SCTP's checksum, which is no sum, has an offset of 8.
        guard offset != SCTPHeader.checksum else { throw .tunnel }
        return .sum(
            WireForm.Coverage(
                bytes: start..<layout.end, field: start + offset, start: InternetSum(),
                avoidsZero: offset == UDPHeader.checksum))
    }

    /// Prepares the completion of the packet's own TCP or UDP checksum.
    private static func ownSum(
        _ frame: RawSpan, _ layout: WireForm.Layout, _ offset: Int
    ) throws(WireForm.Obstacle) -> Self {
        let isUDP = layout.protocolNumber == IPProtocol.udp
        guard offset == (isUDP ? UDPHeader.checksum : TCPHeader.checksum) else {
            throw .checksumOffset
        }
        let field = layout.transport + offset
        if isUDP {
            let length = Int(frame.uint16(at: layout.transport + UDPHeader.length))
            guard length == layout.transportByteCount else { throw .length }
        }
        var sum = layout.pseudoHeader(frame)
        sum.add(length: layout.transportByteCount)
        sum.remove(frame.uint16(at: field))
        return .sum(
            WireForm.Coverage(
                bytes: layout.transport..<layout.end, field: field, start: sum, avoidsZero: isUDP))
    }

    /// Prepares the segmentation of a GSO packet.
    private static func segmentation(
        _ frame: RawSpan, _ layout: WireForm.Layout, _ offload: Offload
    ) throws(WireForm.Obstacle) -> Self {
        var layout = layout
        try check(frame, layout, offload)
        let isUDP = layout.protocolNumber == IPProtocol.udp
        let headerByteCount =
            isUDP
            ? UDPHeader.byteCount
            : Int(frame.uint8(at: layout.transport + TCPHeader.lengthAndFlags) >> 4) * 4
        layout.payload = layout.transport + headerByteCount
        guard headerByteCount >= (isUDP ? UDPHeader.byteCount : TCPHeader.byteCount),
            layout.payload <= layout.end,
            layout.payload + VLANTag.byteCount <= WireForm.headerByteCountMax
        else { throw .headers }

        let size = Int(offload.segmentByteCount)
        let payloadByteCount = layout.end - layout.payload
        guard size > 0, size <= frame.byteCount else { throw .segmentSize }
        // The last segment may be shorter.
        let count = (payloadByteCount + size - 1) / size
        guard count > 1 else {
            guard offload.needsChecksum else { return .copy }
            return try ownSum(frame, layout, isUDP ? UDPHeader.checksum : TCPHeader.checksum)
        }
        guard count <= WireForm.segmentCountMax || size >= WireForm.segmentByteCountMin else {
            throw .segmentCount
        }
        guard layout.payload - layout.network + size <= UInt16.max else { throw .segmentSize }
        return .cut(
            WireForm.Cut(
                layout: layout, segmentByteCount: size, segmentCount: count,
                identificationStep: layout.identificationStep(frame),
                firstSegmentFlags: offload.isCongestionReduced ? TCPHeader.firstSegmentFlags : 0,
                lastSegmentFlags: offload.needsChecksum ? TCPHeader.lastSegmentFlags : 0,
                networkSum: layout.networkSum(frame), transportSum: layout.transportSum(frame)))
    }

    /// Checks that the packet's own transport is to be segmented, and that its headers are sound.
    private static func check(
        _ frame: RawSpan, _ layout: WireForm.Layout, _ offload: Offload
    ) throws(WireForm.Obstacle) {
        let isUDP = offload.segmentation == .udp
        let family: IPAddress.Family? =
            switch offload.segmentation {
            case .tcpOverIPv4: .ipv4
            case .tcpOverIPv6: .ipv6
            default: nil
            }
        guard layout.protocolNumber == (isUDP ? IPProtocol.udp : IPProtocol.tcp),
            family == nil || family == layout.family
        else { throw .tunnel }
        if isUDP, offload.needsChecksum,
            Int(offload.checksumStart) >= layout.transport + UDPHeader.byteCount
        {
            throw .tunnel
        }
        // A GSO packet has a partial checksum (virtio 1.2, 5.1.6.2), unless the kernel has chained
        // received packets (`rx-gro-list`). Then the first one's checksum is in the field.
        guard
            !offload.needsChecksum
                || Int(offload.checksumStart) == layout.transport
                    && Int(offload.checksumOffset)
                        == (isUDP ? UDPHeader.checksum : TCPHeader.checksum)
        else { throw .checksumOffset }
        guard
            layout.transport + (isUDP ? UDPHeader.byteCount : TCPHeader.byteCount) <= layout.end
        else { throw .headers }
        guard layout.end == frame.byteCount else { throw .length }
        if isUDP {
            let length = Int(frame.uint16(at: layout.transport + UDPHeader.length))
            guard length == layout.transportByteCount else { throw .length }
        }
    }
}
