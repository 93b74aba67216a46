public import CLinux
import Frames

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

    package var packetCount: Int {
        unsafe Int(header.pointee.hdr.bh1.num_pkts)
    }

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

/// The packets of a block, in the order they arrived.
@frozen
public struct Packets: ~Escapable {
    @usableFromInline let block: RawSpan
    @usableFromInline var offset: Int
    @usableFromInline var remaining: Int
    @usableFromInline let tellsOffload: Bool

    @_lifetime(copy block)
    init(in block: RawSpan, from offset: Int, count: Int, tellsOffload: Bool) {
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
        guard remaining > 0 else { return nil }
        // Safety: nothing is read.
        unsafe block.withUnsafeBytes { block in
            if let base = block.baseAddress {
                unsafe clinux_prefetch(base + offset, Self.prefetchByteCount)
            }
        }
        // Traps where the kernel's numbers do not fit each other, and reads nothing else.
        let header = block.extracting(offset..<block.byteCount)
        let packet = RingPacket(in: header, tellsOffload: tellsOffload)
        remaining -= 1
        offset += packet.nextOffset
        return packet
    }
}
