import Addressing

/// The work that a frame's sender left to the device: a `virtio_net_hdr` (`<linux/virtio_net.h>`).
///
/// A packet socket with `PACKET_VNET_HDR` puts it before the frame. A pod can write it itself, so
/// it is not to be trusted any more than the frame is.
package struct Offload: Equatable, Sendable {
    /// Whether the transport has a partial checksum: only the pseudo-header's sum.
    package let needsChecksum: Bool
    /// The offset of the first byte that the checksum covers, in the frame.
    package let checksumStart: UInt16
    /// The offset of the checksum, from `checksumStart`.
    package let checksumOffset: UInt16
    package let segmentation: Segmentation
    /// Whether the frame is TCP's answer to a congestion mark (RFC 3168).
    package let isCongestionReduced: Bool
    /// The payload of each segment: `gso_size`.
    package let segmentByteCount: UInt16
    /// The length of the frame's linear part in the kernel: `hdr_len`.
    ///
    /// It has the headers and perhaps more, so it does not say where they end.
    package let headerByteCount: UInt16

    /// The kind of segments that a GSO packet is to be cut into: `gso_type`.
    package enum Segmentation: Equatable, Sendable {
        case none
        case tcpOverIPv4
        case tcpOverIPv6
        /// UDP datagrams of one size (`UDP_SEGMENT`, udp(7)).
        case udp
        /// A kind that no packet socket reports.
        ///
        /// UDP fragmentation, which kernels since 4.14 do not have, or a kind newer than this code.
        case other(UInt8)
    }

    /// No work left.
    package static let none = Offload()

    package init(
        needsChecksum: Bool = false, checksumStart: UInt16 = 0, checksumOffset: UInt16 = 0,
        segmentation: Segmentation = .none, isCongestionReduced: Bool = false,
        segmentByteCount: UInt16 = 0, headerByteCount: UInt16 = 0
    ) {
        self.needsChecksum = needsChecksum
        self.checksumStart = checksumStart
        self.checksumOffset = checksumOffset
        self.segmentation = segmentation
        self.isCongestionReduced = isCongestionReduced
        self.segmentByteCount = segmentByteCount
        self.headerByteCount = headerByteCount
    }

    /// The length of a `virtio_net_hdr`.
    package static let byteCount = 10

    /// Reads a `virtio_net_hdr`, which is in native byte order.
    ///
    /// The caller has checked that its bytes are there.
    package init(_ bytes: RawSpan, at offset: Int) {
        let type = bytes.uint8(at: offset + 1)
        self.init(
            needsChecksum: bytes.uint8(at: offset) & Self.needsChecksumFlag != 0,
            checksumStart: bytes.uint16(at: offset + 6).bigEndian,
            checksumOffset: bytes.uint16(at: offset + 8).bigEndian,
            segmentation: Segmentation(type & ~Self.congestionFlag),
            isCongestionReduced: type & Self.congestionFlag != 0,
            segmentByteCount: bytes.uint16(at: offset + 4).bigEndian,
            headerByteCount: bytes.uint16(at: offset + 2).bigEndian)
    }

    /// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
    private static let needsChecksumFlag: UInt8 = 1
    /// `VIRTIO_NET_HDR_GSO_ECN`.
    private static let congestionFlag: UInt8 = 0x80

    /// Whether it is this packet's own checksum that is partial, not that of a packet inside it.
    package func hasPartialChecksum(of packet: IPPacket) -> Bool {
        needsChecksum && packet.transportOffset == Int(checksumStart)
    }

    /// Whether any work is left.
    package var isPending: Bool { needsChecksum || segmentation != .none }
}

extension Offload.Segmentation {
    /// Translates `VIRTIO_NET_HDR_GSO_*`; the last one is missing in some distributions' headers.
    init(_ type: UInt8) {
        switch type {
        case 0: self = .none
        case 1: self = .tcpOverIPv4
        case 4: self = .tcpOverIPv6
        case 5: self = .udp
        default: self = .other(type)
        }
    }
}

/// An 802.1Q or 802.1ad tag that the kernel has taken out of a frame.
package struct VLANTag: Equatable, Sendable {
    /// Priority, drop eligibility and VLAN identifier: `tp_vlan_tci`.
    package let tag: UInt16
    /// `0x8100` or `0x88a8`: `tp_vlan_tpid`.
    package let etherType: UInt16

    package init(tag: UInt16, etherType: UInt16) {
        (self.tag, self.etherType) = (tag, etherType)
    }

    package static let byteCount = 4
    /// Whether a tag begins with this EtherType (IEEE 802.1Q, 9.4).
    package static func isTag(_ etherType: UInt16) -> Bool {
        etherType == 0x8100 || etherType == 0x88a8
    }

    /// The offset of a tag in a frame: before the EtherType of what it carries.
    static let offset = EthernetHeader.etherType
}
