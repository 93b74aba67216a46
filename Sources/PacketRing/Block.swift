public import CLinux
import Addressing
import Packets

/// A block of packets on loan from a `Ring`. Letting it go gives it back to the kernel.
@safe
package struct Block: ~Copyable, ~Escapable {
    private let header: UnsafeMutablePointer<tpacket_block_desc>
    private let tellsOffload: Bool

    /// - Safety: `header` must stay mapped, and the block ours, for as long as this value lives.
    @unsafe
    @_lifetime(immortal)
    init(_ header: UnsafeMutablePointer<tpacket_block_desc>, tellsOffload: Bool) {
        unsafe self.header = header
        self.tellsOffload = tellsOffload
    }

    deinit {
        unsafe clinux_block_release(header)
    }

    /// How many packets it has.
    package var packetCount: Int {
        var packets = packets
        while packets.next() != nil {}
        return packets.count
    }

    /// The packets, in the order they arrived.
    package var packets: Packets {
        @_lifetime(borrow self)
        get {
            let bounds = unsafe header.pointee.hdr.bh1
            // Safety: `blk_len` bytes of the block are written, and ours while `self` is borrowed.
            let bytes = unsafe RawSpan(_unsafeStart: header, byteCount: Int(bounds.blk_len))
            let packets = Packets(
                in: bytes, from: Int(bounds.offset_to_first_pkt), count: Int(bounds.num_pkts),
                tellsOffload: tellsOffload)
            return unsafe _overrideLifetime(packets, borrowing: self)
        }
    }
}

/// A walk over the packets of a block.
@frozen
public struct Packets: ~Escapable {
    @usableFromInline let block: RawSpan
    @usableFromInline var offset: Int
    @usableFromInline var remaining: Int
    @usableFromInline let tellsOffload: Bool
    /// How many there have been so far.
    @usableFromInline package private(set) var count = 0

    @_lifetime(copy block)
    package init(in block: RawSpan, from offset: Int, count: Int, tellsOffload: Bool) {
        self.block = block
        self.offset = offset
        self.remaining = count
        self.tellsOffload = tellsOffload
    }

    /// So far ahead the processor is told to fetch what the kernel has written on another one. Small
    /// packets take as long to copy as to come from there, and with a dozen on their way the time for
    /// each of them is halved. With large ones the processor sees by itself where this goes.
    @usableFromInline static var prefetchByteCount: UInt { 2048 }

    /// The next one, or nil behind the last one.
    @inlinable
    @_lifetime(copy self)
    public mutating func next() -> RingPacket? {
        while remaining > 0, block.byteCount - offset >= RingPacket.Place.byteCount {
            remaining -= 1
            let rest = block.extracting(droppingFirst: offset)
            // Safety: the condition above keeps the load inside the block.
            let distance = unsafe Int(
                rest.unsafeLoad(fromUncheckedByteOffset: RingPacket.Place.next, as: UInt32.self))
            // Behind the last one the kernel says 0.
            let byteCount = distance == 0 ? rest.byteCount : distance
            guard byteCount >= RingPacket.Place.byteCount, byteCount <= rest.byteCount else {
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
