public import CLinux
package import Packets

/// A packet where the kernel has put it, whose fields are read only when they are asked for.
///
/// Most packets are only copied, and reading little of them costs little.
///
/// Public and `@inlinable`: the compiler inlines only public code across modules, and this runs once
/// per packet.
@frozen
public struct RingPacket: ~Escapable {
    /// The frame from the first byte of its link-layer header, as much as the program kept.
    public let bytes: RawSpan
    /// All that is in front of the frame.
    ///
    /// It is a `tpacket3_hdr`, a `sockaddr_ll`, perhaps a `virtio_net_hdr`, and gaps.
    @usableFromInline let header: RawSpan
    @usableFromInline let tellsOffload: Bool

    /// The offsets of the header's fields; `CLinux` asserts that the kernel's headers agree.
    @usableFromInline
    enum HeaderOffset {
        @usableFromInline static var next: Int { 0 }
        @usableFromInline static var seconds: Int { 4 }
        @usableFromInline static var nanoseconds: Int { 8 }
        @usableFromInline static var snaplen: Int { 12 }
        @usableFromInline static var wireByteCount: Int { 16 }
        @usableFromInline static var status: Int { 20 }
        @usableFromInline static var frame: Int { 24 }
        static let interfaceIndex = 52
        @usableFromInline static var packetType: Int { 58 }
        /// The end of the `tpacket3_hdr` and the `sockaddr_ll`.
        @usableFromInline static var end: Int { 68 }
        /// The length of a `virtio_net_hdr`, which ends where the frame begins.
        ///
        /// See `tpacket_rcv` in the kernel's af_packet.c.
        @usableFromInline static var offloadByteCount: Int { 10 }
    }

    /// Reads a slot of a block; nil if the kernel has not written a packet there.
    ///
    /// The slot has at least `HeaderOffset.end` bytes.
    ///
    /// If `virtio_net_hdr` cannot describe the packet, the kernel drops it after reserving the slot.
    /// Such a slot still holds the previous lap's data; only `tp_next_offset` and `tp_status` are
    /// new. The status of a packet that is there has `TP_STATUS_USER`, which is set last
    /// (`tpacket_rcv`).
    @inlinable
    @_lifetime(copy slot)
    init?(in slot: RawSpan, tellsOffload: Bool) {
        // Safety, here and below: the caller keeps the loads of the header inside the slot, the
        // conditions keep the bytes inside it, and every bit pattern is an integer.
        let start = unsafe Int(
            slot.unsafeLoad(fromUncheckedByteOffset: HeaderOffset.frame, as: UInt16.self))
        let byteCount = unsafe Int(
            slot.unsafeLoad(fromUncheckedByteOffset: HeaderOffset.snaplen, as: UInt32.self))
        let before =
            tellsOffload ? HeaderOffset.end + HeaderOffset.offloadByteCount : HeaderOffset.end
        let status = unsafe slot.unsafeLoad(
            fromUncheckedByteOffset: HeaderOffset.status, as: UInt32.self)
        guard status & UInt32(TP_STATUS_USER) != 0, start >= before,
            start + byteCount <= slot.byteCount
        else { return nil }
        header = unsafe slot.extracting(unchecked: 0..<start)
        bytes = unsafe slot.extracting(unchecked: start..<start + byteCount)
        self.tellsOffload = tellsOffload
    }

    @inlinable
    func word(_ offset: Int) -> UInt32 {
        unsafe header.unsafeLoad(fromUncheckedByteOffset: offset, as: UInt32.self)
    }

    /// The time when the packet passed, by the node's clock, in seconds since 1970.
    @inlinable public var seconds: UInt32 { word(HeaderOffset.seconds) }
    /// The nanoseconds after the full second.
    @inlinable public var nanoseconds: UInt32 { word(HeaderOffset.nanoseconds) }
    /// The time when the packet passed, in nanoseconds since 1970.
    @inlinable public var nanosecondsSince1970: UInt64 {
        UInt64(seconds) * 1_000_000_000 + UInt64(nanoseconds)
    }
    /// The length of the packet before it was cut.
    @inlinable public var wireByteCount: Int { Int(word(HeaderOffset.wireByteCount)) }
    /// The interface at which the packet was captured.
    package var interfaceIndex: UInt32 { word(HeaderOffset.interfaceIndex) }

    /// Whether the packet leaves through the interface (`PACKET_OUTGOING`).
    @inlinable
    public var isOutgoing: Bool {
        unsafe header.unsafeLoad(
            fromUncheckedByteOffset: HeaderOffset.packetType, as: UInt8.self)
            == UInt8(PACKET_OUTGOING)
    }

    /// Whether the frame is as a wire would have carried it.
    ///
    /// The kernel has then taken out no VLAN tag, and nothing is left to the device.
    @inlinable
    public var isFinished: Bool { !hasTag && (!tellsOffload || pending == 0) }

    @inlinable var hasTag: Bool { word(HeaderOffset.status) & UInt32(TP_STATUS_VLAN_VALID) != 0 }

    /// The work left to the device, from the first two bytes of the `virtio_net_hdr`.
    ///
    /// They are `VIRTIO_NET_HDR_F_NEEDS_CSUM` and any kind of segmentation, without the ECN flag,
    /// which alone is none.
    @inlinable var pending: UInt16 {
        let offset = header.byteCount - HeaderOffset.offloadByteCount
        let start = unsafe header.unsafeLoadUnaligned(
            fromUncheckedByteOffset: offset, as: UInt16.self)
        return UInt16(littleEndian: start) & Self.pendingMask
    }

    @inlinable static var pendingMask: UInt16 {
        let segmentation = UInt16(0xff & ~VIRTIO_NET_HDR_GSO_ECN)
        return UInt16(VIRTIO_NET_HDR_F_NEEDS_CSUM) | segmentation << 8
    }

    /// How to complete the partial checksum, if nothing else is left to do and no byte was cut off.
    package var plainChecksum: PlainChecksum? {
        guard tellsOffload, pending == UInt16(VIRTIO_NET_HDR_F_NEEDS_CSUM), !hasTag,
            wireByteCount == bytes.byteCount
        else { return nil }
        // `csum_start` and `csum_offset`, in the machine's byte order.
        let place = header.byteCount - HeaderOffset.offloadByteCount + 6
        let start = unsafe header.unsafeLoadUnaligned(
            fromUncheckedByteOffset: place, as: UInt16.self)
        let offset = unsafe header.unsafeLoadUnaligned(
            fromUncheckedByteOffset: place + 2, as: UInt16.self)
        return PlainChecksum(bytes, checksumStart: Int(start), checksumOffset: Int(offset))
    }

    /// The offset of the frame's end, as captured, from the start of the slot.
    var endOffset: Int { header.byteCount + bytes.byteCount }

    private func details(isCutByBlock: Bool) -> Packet.Details {
        let type = unsafe header.unsafeLoad(
            fromUncheckedByteOffset: HeaderOffset.packetType, as: UInt8.self)
        let offload =
            tellsOffload
            ? Offload(header, at: header.byteCount - HeaderOffset.offloadByteCount) : Offload.none
        return Packet.Details(
            header, interfaceIndex, packetType: type, offload, isCutByBlock: isCutByBlock)
    }

    /// All that the kernel says about the packet.
    package var details: Packet.Details { details(isCutByBlock: false) }

    /// The packet with all its details.
    package var packet: Packet {
        @_lifetime(copy self)
        get { Packet(details, bytes) }
    }

    /// Returns the packet with all its details, of which its block knows one.
    @_lifetime(copy self)
    package func packet(isCutByBlock: Bool) -> Packet {
        Packet(details(isCutByBlock: isCutByBlock), bytes)
    }
}
