package import Packets

/// A packet where the kernel has put it. What is known of it is read when it is asked for, so that a
/// packet of which little is asked costs little: most of them are only copied.
///
/// It is public, as all is that other modules do with every packet: the compiler brings nothing less
/// across their borders.
@frozen
public struct RingPacket: ~Escapable {
    /// From the first byte of the link-layer header, as much as the program kept.
    public let bytes: RawSpan
    /// A `tpacket3_hdr`, a `sockaddr_ll`, perhaps a `virtio_net_hdr`, and gaps: all that is before
    /// the frame.
    @usableFromInline let header: RawSpan
    @usableFromInline let tellsOffload: Bool

    /// Where things are in the header; `CLinux` asserts that the kernel's says the same.
    @usableFromInline
    enum Place {
        @usableFromInline static var next: Int { 0 }
        @usableFromInline static var seconds: Int { 4 }
        @usableFromInline static var nanoseconds: Int { 8 }
        @usableFromInline static var snaplen: Int { 12 }
        @usableFromInline static var wireByteCount: Int { 16 }
        @usableFromInline static var status: Int { 20 }
        @usableFromInline static var frame: Int { 24 }
        static let interfaceIndex = 52
        static let packetType = 58
        /// A `virtio_net_hdr` ends where the frame begins (`tpacket_rcv` in the kernel's
        /// af_packet.c).
        @usableFromInline static var offloadByteCount: Int { 10 }
        /// A `tpacket3_hdr` and a `sockaddr_ll`.
        @usableFromInline static var byteCount: Int { 68 }
    }

    /// What is in a slot of a block: as many bytes as the kernel has set aside for one packet, and
    /// `Place.byteCount` at least. Nil if the kernel has not written a packet there.
    ///
    /// It takes the slot first and then may find that it cannot say what is left to the device, which
    /// it counts as dropped, and leaves the slot as the ring's last lap left it but for the way to the
    /// next one and the status. In that a packet that is there has `TP_STATUS_USER`, which is set last
    /// (`tpacket_rcv`).
    @inlinable
    @_lifetime(copy slot)
    init?(in slot: RawSpan, tellsOffload: Bool) {
        // Safety, here and below: the caller keeps the loads of the header inside the slot, the
        // conditions keep the bytes inside it, and every bit pattern is an integer.
        let start = unsafe Int(
            slot.unsafeLoad(fromUncheckedByteOffset: Place.frame, as: UInt16.self))
        let byteCount = unsafe Int(
            slot.unsafeLoad(fromUncheckedByteOffset: Place.snaplen, as: UInt32.self))
        let before = tellsOffload ? Place.byteCount + Place.offloadByteCount : Place.byteCount
        let status = unsafe slot.unsafeLoad(
            fromUncheckedByteOffset: Place.status, as: UInt32.self)
        guard status & 1 != 0, start >= before, start + byteCount <= slot.byteCount else {
            return nil
        }
        header = unsafe slot.extracting(unchecked: 0..<start)
        bytes = unsafe slot.extracting(unchecked: start..<start + byteCount)
        self.tellsOffload = tellsOffload
    }

    @inlinable
    func word(_ offset: Int) -> UInt32 {
        unsafe header.unsafeLoad(fromUncheckedByteOffset: offset, as: UInt32.self)
    }

    /// When it passed, as the node's clock had it, since 1970.
    @inlinable public var seconds: UInt32 { word(Place.seconds) }
    /// How long after the full second.
    @inlinable public var nanoseconds: UInt32 { word(Place.nanoseconds) }
    /// Both together.
    @inlinable public var nanosecondsSince1970: UInt64 {
        UInt64(seconds) * 1_000_000_000 + UInt64(nanoseconds)
    }
    /// How long the packet was on the wire.
    @inlinable public var wireByteCount: Int { Int(word(Place.wireByteCount)) }
    /// Where it passed.
    package var interfaceIndex: UInt32 { word(Place.interfaceIndex) }

    /// Whether the frame is as a wire would have carried it: the kernel has not taken out a tag, and
    /// nothing is left to the device.
    @inlinable
    public var isFinished: Bool { !hasTag && (!tellsOffload || pending == 0) }

    /// `TP_STATUS_VLAN_VALID`
    @inlinable var hasTag: Bool { word(Place.status) & (1 << 4) != 0 }

    /// What the first two bytes of a `virtio_net_hdr` say is left to do:
    /// `VIRTIO_NET_HDR_F_NEEDS_CSUM`, and any segmentation, of which the ECN flag alone is none.
    @inlinable var pending: UInt16 {
        let place = header.byteCount - Place.offloadByteCount
        let start = unsafe header.unsafeLoadUnaligned(
            fromUncheckedByteOffset: place, as: UInt16.self)
        return UInt16(littleEndian: start) & 0x7f01
    }

    /// How its checksum is to be finished, if it was captured whole and nothing else is left to do.
    package var plainChecksum: PlainChecksum? {
        guard tellsOffload, pending == 1, !hasTag, wireByteCount == bytes.byteCount else {
            return nil
        }
        // `csum_start` and `csum_offset`, in the machine's byte order.
        let place = header.byteCount - Place.offloadByteCount + 6
        let start = unsafe header.unsafeLoadUnaligned(
            fromUncheckedByteOffset: place, as: UInt16.self)
        let offset = unsafe header.unsafeLoadUnaligned(
            fromUncheckedByteOffset: place + 2, as: UInt16.self)
        return PlainChecksum(bytes, checksumStart: Int(start), checksumOffset: Int(offset))
    }

    /// All that is known of it.
    package var details: Packet.Details {
        let type = unsafe header.unsafeLoad(
            fromUncheckedByteOffset: Place.packetType, as: UInt8.self)
        let offload =
            tellsOffload
            ? Offload(header, at: header.byteCount - Place.offloadByteCount) : Offload.none
        return Packet.Details(header, interfaceIndex, packetType: type, offload)
    }

    /// The packet with all of that.
    package var packet: Packet {
        @_lifetime(copy self)
        get { Packet(details, bytes) }
    }
}
