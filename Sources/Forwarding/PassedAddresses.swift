import Addressing
import Packets

/// The addresses of a packet whose MAC addresses the fast path has cleared.
///
/// Most packets follow one of their own flow, and comparing all addresses of a frame with those of
/// the one before takes less time than finding out what they are. It holds for one edge.
struct PassedAddresses {
    /// The bytes of an IPv4 frame from 0, from 6 and from 26 on: all its addresses, and its type.
    private var start = UInt64.max
    private var middle = UInt64.max
    private var ends = UInt64.max

    /// Whether a frame has the same addresses.
    @inline(__always)
    func match(_ frame: RawSpan) -> Bool {
        frame.byteCount >= PlainFrame.IPv4.transport
            && frame.uint64(at: PlainFrame.IPv4.source) == ends && frame.uint64(at: 0) == start
            && frame.uint64(at: EthernetHeader.source) == middle
    }

    /// Takes over the addresses of a frame, if it is one of IPv4.
    ///
    /// - Returns: Always true, as the result of the test that the frame has passed.
    mutating func set(_ frame: RawSpan) -> Bool {
        if frame.byteCount >= PlainFrame.IPv4.transport,
            frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv4
        {
            start = frame.uint64(at: 0)
            middle = frame.uint64(at: EthernetHeader.source)
            ends = frame.uint64(at: PlainFrame.IPv4.source)
        }
        return true
    }
}
