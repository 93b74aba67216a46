import Addressing

extension WireForm {
    /// Where the headers of a frame's outermost IP packet are, each of them compared with the bytes
    /// there are.
    struct Layout: Sendable {
        let family: IPAddress.Family
        let protocolNumber: UInt8
        /// Where the IP header begins.
        let network: Int
        let transport: Int
        /// Where the transport's payload begins; nothing but a segmentation asks for it.
        var payload: Int
        let end: Int
        /// How long the jumbo payload option is (RFC 2675), in a header by itself, that the kernel
        /// gives to packets which are too long to say so, until it has segmented them.
        private(set) var jumboByteCount = 0

        /// How many tags are looked behind, beside the one that the kernel has taken out: as many as
        /// 802.1ad has.
        private static let tagCountMax = 2

        init(_ frame: RawSpan) throws(Obstacle) {
            var offset = VLANTag.offset
            var tagCount = 0
            while true {
                guard offset + 2 <= frame.byteCount else { throw .notIP }
                guard VLANTag.isOne(frame.uint16(at: offset)) else { break }
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

        /// Where the packet says that it ends. A length of 0 is how the kernel marks one that is
        /// longer than the field can say.
        private static func end(
            _ family: IPAddress.Family, _ frame: RawSpan, _ network: Int
        ) throws(Obstacle) -> Int {
            let start = network + (family == .ipv4 ? 0 : 40)
            let byteCount = Int(frame.uint16(at: network + (family == .ipv4 ? 2 : 4)))
            if byteCount == 0, frame.byteCount - start > UInt16.max { return frame.byteCount }
            guard byteCount > 0, start + byteCount <= frame.byteCount else { throw .length }
            return start + byteCount
        }
    }
}

extension WireForm.Layout {
    /// The pseudo-header without its length.
    fileprivate func pseudoHeader(_ frame: RawSpan) -> InternetSum {
        var sum = InternetSum()
        let start = network + (family == .ipv4 ? 12 : 8)
        sum.add(frame.extracting(start..<start + 2 * family.byteCount))
        sum.add(UInt16(protocolNumber))
        return sum
    }

    /// What all segments have in common of an IPv4 header (RFC 791, 3.1).
    fileprivate func networkSum(_ frame: RawSpan) -> InternetSum {
        var sum = InternetSum()
        guard family == .ipv4 else { return sum }
        sum.add(frame.extracting(network..<transport))
        sum.remove(frame.uint16(at: network + 2))
        sum.remove(frame.uint16(at: network + 4))
        sum.remove(frame.uint16(at: network + 10))
        return sum
    }

    /// And of a TCP or UDP header (RFC 9293, 3.1; RFC 768).
    fileprivate func transportSum(_ frame: RawSpan) -> InternetSum {
        var sum = pseudoHeader(frame)
        sum.add(frame.extracting(transport..<payload))
        sum.remove(frame.uint16(at: transport + 4))
        sum.remove(frame.uint16(at: transport + 6))
        guard protocolNumber == IPProtocol.tcp else { return sum }
        sum.remove(frame.uint16(at: transport + 12))
        sum.remove(frame.uint16(at: transport + 16))
        return sum
    }

    /// Looks for what stands in the way among IPv4 options and IPv6 extension headers.
    private mutating func checkOptions(_ frame: RawSpan) throws(WireForm.Obstacle) {
        switch family {
        case .ipv4: try checkIPv4Options(frame)
        case .ipv6: try checkIPv6Extensions(frame)
        }
    }

    /// RFC 791, 3.1: a loose or strict source route that has not been gone to its end. Its last
    /// address is what the checksum is over.
    private func checkIPv4Options(_ frame: RawSpan) throws(WireForm.Obstacle) {
        var offset = network + 20
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

    /// The headers have been walked before, so their lengths lead to the transport.
    private mutating func checkIPv6Extensions(_ frame: RawSpan) throws(WireForm.Obstacle) {
        var kind = frame.uint8(at: network + 6)
        var offset = network + 40
        if frame.uint16(at: network + 4) == 0, kind == Self.hopByHop {
            // Other options than this one alone do not come with it.
            guard frame.uint16(at: offset) & 0xff == 0, frame.uint16(at: offset + 2) == 0xc204
            else { throw .headers }
            jumboByteCount = 8
        }
        while offset < transport {
            if kind == Self.routing, frame.uint8(at: offset + 3) != 0 { throw .sourceRoute }
            // What is authenticated was finished before.
            if kind == IPv6Extension.authentication { throw .headers }
            kind = frame.uint8(at: offset)
            offset += (Int(frame.uint8(at: offset + 1)) + 1) * 8
        }
    }

    private static let hopByHop: UInt8 = 0
    private static let routing: UInt8 = 43
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

    /// An unfinished checksum: the packet's own, or the one of another packet inside it.
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
                guard offset == 8, start + 12 <= layout.end else { throw .checksumOffset }
                return .crc(
                    WireForm.Coverage(
                        bytes: start..<layout.end, field: start + 8, start: InternetSum(),
                        avoidsZero: false))
            default: break
            }
        } else {
            // These carry no packet, and UDP carries it behind its own header.
            switch layout.protocolNumber {
            case IPProtocol.tcp, IPProtocol.sctp: throw .checksumOffset
            case IPProtocol.udp where start < layout.transport + 8: throw .checksumOffset
            default: break
            }
        }
        // The checksum of something inside: no translation has been there, so what the field holds
        // is what belongs to the sum. None but SCTP's, which is no sum, has this offset.
        guard offset != 8 else { throw .tunnel }
        return .sum(
            WireForm.Coverage(
                bytes: start..<layout.end, field: start + offset, start: InternetSum(),
                avoidsZero: offset == 6))
    }

    /// The checksum of the packet's own TCP or UDP.
    private static func ownSum(
        _ frame: RawSpan, _ layout: WireForm.Layout, _ offset: Int
    ) throws(WireForm.Obstacle) -> Self {
        let isUDP = layout.protocolNumber == IPProtocol.udp
        guard offset == (isUDP ? 6 : 16) else { throw .checksumOffset }
        let field = layout.transport + offset
        if isUDP, Int(frame.uint16(at: layout.transport + 4)) != layout.transportByteCount {
            throw .length
        }
        var sum = layout.pseudoHeader(frame)
        sum.add(length: layout.transportByteCount)
        sum.remove(frame.uint16(at: field))
        return .sum(
            WireForm.Coverage(
                bytes: layout.transport..<layout.end, field: field, start: sum, avoidsZero: isUDP))
    }

    private static func segmentation(
        _ frame: RawSpan, _ layout: WireForm.Layout, _ offload: Offload
    ) throws(WireForm.Obstacle) -> Self {
        var layout = layout
        try check(frame, layout, offload)
        let isUDP = layout.protocolNumber == IPProtocol.udp
        // Whole numbers of words, the first 12 bits of the 13th and 14th byte (RFC 9293, 3.1).
        let headerByteCount =
            isUDP ? 8 : Int(frame.uint8(at: layout.transport + 12) >> 4) * 4
        layout.payload = layout.transport + headerByteCount
        guard headerByteCount >= (isUDP ? 8 : 20), layout.payload <= layout.end,
            layout.payload + VLANTag.byteCount <= WireForm.headerByteCountMax
        else { throw .headers }

        let size = Int(offload.segmentByteCount)
        let payloadByteCount = layout.end - layout.payload
        guard size > 0, size <= frame.byteCount else { throw .segmentSize }
        // A last one that is shorter counts as well.
        let count = (payloadByteCount + size - 1) / size
        guard count > 1 else { return try ownSum(frame, layout, isUDP ? 6 : 16) }
        guard count <= WireForm.segmentCountMax else { throw .segmentCount }
        guard layout.payload - layout.network + size <= UInt16.max else { throw .segmentSize }
        return .cut(
            WireForm.Cut(
                layout: layout, segmentByteCount: size, segmentCount: count,
                networkSum: layout.networkSum(frame), transportSum: layout.transportSum(frame)))
    }

    /// Whether it is the packet's own transport that is to be segmented.
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
        if isUDP, offload.needsChecksum, Int(offload.checksumStart) >= layout.transport + 8 {
            throw .tunnel
        }
        // A segmentation implies an unfinished checksum (virtio 1.2, 5.1.6.2).
        guard offload.needsChecksum, Int(offload.checksumStart) == layout.transport,
            offload.checksumOffset == (isUDP ? 6 : 16)
        else { throw .checksumOffset }
        guard layout.transport + (isUDP ? 8 : 20) <= layout.end else { throw .headers }
        guard layout.end == frame.byteCount,
            !isUDP || Int(frame.uint16(at: layout.transport + 4)) == layout.transportByteCount
        else { throw .length }
    }
}
