import Addressing

/// What a frame carries behind its VLAN tags.
package struct FrameContent: Equatable, Sendable {
    /// The EtherType behind the tags; that of a tag where there are too many, or where they are cut.
    package let etherType: UInt16
    /// The offset of what follows it.
    package let offset: Int

    /// The most tags that are looked behind; 802.1ad has two.
    package static let tagCountMax = 2

    /// Finds the content of a frame, which may end anywhere; nil without a whole Ethernet header.
    package init?(_ frame: RawSpan) {
        guard frame.byteCount >= EthernetHeader.byteCount else { return nil }
        var offset = EthernetHeader.etherType
        var tagCount = 0
        while VLANTag.isTag(frame.uint16(at: offset)), tagCount < Self.tagCountMax,
            offset + VLANTag.byteCount + 2 <= frame.byteCount
        {
            tagCount += 1
            offset += VLANTag.byteCount
        }
        etherType = frame.uint16(at: offset)
        self.offset = offset + 2
    }

    /// The IP packet that it is; nil for other protocols, and if the fixed header is cut.
    package func packet(in frame: RawSpan) -> IPPacket? {
        switch etherType {
        case EtherType.ipv4: IPPacket(.ipv4, in: frame, at: offset)
        case EtherType.ipv6: IPPacket(.ipv6, in: frame, at: offset)
        default: nil
        }
    }
}
