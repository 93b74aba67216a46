import Addressing
import Packets

/// The addresses of a frame towards a pod that the fast path has cleared.
///
/// Most packets follow one of their own flow, and comparing all addresses of a frame with those of
/// the one before takes less time than finding out what they are. It holds for one edge, and until the
/// fast path changes.
package struct PassedAddresses {
    /// The bytes of an IPv4 frame from 0, from 6 and from 26 on: all its addresses, and its type.
    private var start = UInt64.max
    private var middle = UInt64.max
    private var ends = UInt64.max
    /// The shortest frame that may have them; at first there is none.
    private var byteCountMin = Int.max

    /// No addresses yet.
    package init() {}

    /// Whether a frame has the same addresses, and room for ports.
    @inline(__always)
    func match(_ frame: RawSpan) -> Bool {
        frame.byteCount >= byteCountMin
            && frame.uint64(at: PlainFrame.IPv4.source) == ends && frame.uint64(at: 0) == start
            && frame.uint64(at: EthernetHeader.source) == middle
    }

    /// Takes over the addresses of a frame that was cleared, if it is one of IPv4.
    @inline(__always)
    mutating func set(_ frame: RawSpan) {
        guard frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv4 else { return }
        start = frame.uint64(at: 0)
        middle = frame.uint64(at: EthernetHeader.source)
        ends = frame.uint64(at: PlainFrame.IPv4.source)
        byteCountMin = PlainFrame.IPv4.transport + PortsHeader.byteCount
    }
}
