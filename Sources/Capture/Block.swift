import CLinux
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
package struct Packets: ~Escapable {
    private let block: RawSpan
    private var offset: Int
    private var remaining: Int
    private let tellsOffload: Bool

    /// A `sockaddr_ll` follows the header; both sizes are asserted in `CLinux`.
    private static let interfaceIndexOffset = 48 + 4
    private static let packetTypeOffset = 48 + 10

    @_lifetime(copy block)
    init(in block: RawSpan, from offset: Int, count: Int, tellsOffload: Bool) {
        self.block = block
        self.offset = offset
        self.remaining = count
        self.tellsOffload = tellsOffload
    }

    @_lifetime(copy self)
    package mutating func next() -> Packet? {
        guard remaining > 0 else { return nil }
        // Safety: the header and the address behind it are plain integers (packet_mmap.rst); the
        // loads and the slice below check their bounds.
        let header = unsafe block.unsafeLoad(fromByteOffset: offset, as: tpacket3_hdr.self)
        let packetType = unsafe block.unsafeLoad(
            fromByteOffset: offset + Self.packetTypeOffset, as: UInt8.self)
        let interfaceIndex = unsafe block.unsafeLoad(
            fromByteOffset: offset + Self.interfaceIndexOffset, as: UInt32.self)
        let start = offset + Int(header.tp_mac)
        // It ends where the frame begins (`tpacket_rcv` in the kernel's af_packet.c).
        let offload =
            tellsOffload ? Offload(block, at: start - Offload.byteCount) : Offload.none
        let packet = Packet(
            Packet.Details(
                header, interfaceIndex: interfaceIndex, packetType: packetType, offload),
            block.extracting(start..<start + Int(header.tp_snaplen)))
        remaining -= 1
        offset += Int(header.tp_next_offset)
        return packet
    }
}
