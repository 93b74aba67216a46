import Addressing
public import CLinux
import Packets

/// A block of packets on loan from a `Ring`, which returns to the kernel when it is let go.
@safe
package struct Block: ~Copyable, ~Escapable {
    private let header: UnsafeMutablePointer<tpacket_block_desc>
    private let byteCount: Int
    private let tellsOffload: Bool

    /// - Safety: `header` must stay mapped for `byteCount` bytes, and the block ours, for as long as
    ///   this value lives.
    @unsafe
    @_lifetime(immortal)
    init(
        _ header: UnsafeMutablePointer<tpacket_block_desc>, byteCount: Int, tellsOffload: Bool
    ) {
        unsafe self.header = header
        self.byteCount = byteCount
        self.tellsOffload = tellsOffload
    }

    deinit {
        unsafe clinux_block_release(header)
    }

    /// The number of packets in the block, for which it walks over all of them.
    package var packetCount: Int {
        var packets = packets
        while packets.next() != nil {}
        return packets.count
    }

    /// The bytes that the kernel has filled.
    package var filledByteCount: Int { Int(unsafe header.pointee.hdr.bh1.blk_len) }

    /// The length before the cut of the packet that was too large for the block, or nil.
    ///
    /// The kernel cuts such a packet to what an empty block holds (`tpacket_rcv` in its af_packet.c).
    /// So the packet is alone in its block, and ends where the block ends.
    package var cutPacketByteCount: Int? {
        let bounds = unsafe header.pointee.hdr.bh1
        guard bounds.num_pkts == 1 else { return nil }
        var packets = packets
        guard let packet = packets.next(), packet.bytes.byteCount < packet.wireByteCount,
            Int(bounds.offset_to_first_pkt) + packet.endOffset == byteCount
        else { return nil }
        return packet.wireByteCount
    }

    /// An iterator over the packets, in the order in which they arrived.
    package var packets: PacketIterator {
        @_lifetime(borrow self)
        get {
            let bounds = unsafe header.pointee.hdr.bh1
            // Safety: `blk_len` bytes of the block are written, and ours while `self` is borrowed.
            let bytes = unsafe RawSpan(_unsafeStart: header, byteCount: Int(bounds.blk_len))
            let packets = PacketIterator(
                in: bytes, from: Int(bounds.offset_to_first_pkt), count: Int(bounds.num_pkts),
                tellsOffload: tellsOffload)
            return unsafe _overrideLifetime(packets, borrowing: self)
        }
    }
}

/// An iterator over the packets of a block.
@frozen
public struct PacketIterator: ~Escapable {
    @usableFromInline let block: RawSpan
    @usableFromInline var offset: Int
    @usableFromInline var remaining: Int
    @usableFromInline let tellsOffload: Bool
    /// The number of packets so far.
    @usableFromInline package private(set) var count = 0

    /// Creates an iterator over the bytes of a block.
    ///
    /// - Parameters:
    ///   - block: The bytes, from the block's header on.
    ///   - offset: The offset of the first packet's header.
    ///   - count: The number of slots, some of which may be without a packet.
    ///   - tellsOffload: Whether a `virtio_net_hdr` is in front of each frame.
    @_lifetime(copy block)
    package init(in block: RawSpan, from offset: Int, count: Int, tellsOffload: Bool) {
        self.block = block
        self.offset = offset
        self.remaining = count
        self.tellsOffload = tellsOffload
    }

    /// The distance at which the CPU is told to fetch what the kernel wrote on another CPU.
    ///
    /// Copying a small packet takes as long as fetching it. With a dozen fetches under way the time
    /// for each packet is halved. With large packets the CPU predicts the access by itself.
    @usableFromInline static var prefetchByteCount: UInt { 2048 }

    /// The next packet, or nil behind the last one.
    @inlinable
    @_lifetime(copy self)
    public mutating func next() -> RingPacket? {
        while remaining > 0, block.byteCount - offset >= RingPacket.HeaderOffset.end {
            remaining -= 1
            let rest = block.extracting(droppingFirst: offset)
            // Safety: the condition above keeps the load inside the block.
            let distance = unsafe Int(
                rest.unsafeLoad(
                    fromUncheckedByteOffset: RingPacket.HeaderOffset.next, as: UInt32.self))
            // In the last slot the kernel writes 0.
            let byteCount = distance == 0 ? rest.byteCount : distance
            guard byteCount >= RingPacket.HeaderOffset.end, byteCount <= rest.byteCount else {
                break
            }
            let slot = rest.extracting(first: byteCount)
            let packet = RingPacket(in: slot, tellsOffload: tellsOffload)
            // Safety: nothing is read.
            unsafe slot.withUnsafeBytes { slot in
                if let base = slot.baseAddress {
                    unsafe clinux_prefetch(base, Self.prefetchByteCount)
                }
            }
            offset += byteCount
            if let packet {
                count += 1
                return packet
            }
        }
        return nil
    }
}
