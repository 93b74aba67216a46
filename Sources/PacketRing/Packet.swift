import CLinux
import Addressing
package import Packets

/// One captured packet, still in the kernel's memory.
package struct Packet: ~Escapable {
    /// From the first byte of the link-layer header, as much as the program kept.
    package let bytes: RawSpan
    package let details: Details

    /// What is known of a packet beside its bytes.
    package struct Details: Equatable, Sendable {
        /// Where it passed.
        package let interfaceIndex: UInt32
        /// How long the packet was on the wire.
        package var wireByteCount: Int
        /// As the node's clock had it when the packet passed.
        package let nanosecondsSince1970: UInt64
        /// Whether the packet leaves through the interface: `PACKET_OUTGOING`.
        package let isOutgoing: Bool
        /// Whether the transport's checksum holds its pseudo-header's sum only, as on a packet that
        /// has not met a wire yet. Also known where the ring does not tell the offload; but which
        /// packet's transport it is, of those inside each other, only that says.
        package let hasPartialChecksum: Bool
        /// What its sender has left to the device; nothing where the ring does not tell.
        package let offload: Offload
        /// The tag that the kernel took out of the frame, if it had one.
        package var vlan: VLANTag?

        /// Whether the frame may be other than a wire would have carried it.
        package var isUnfinished: Bool { offload.isPending || vlan != nil }
    }

    /// A packet that has been kept beyond its block.
    @_lifetime(copy bytes)
    package init(_ details: Details, _ bytes: RawSpan) {
        self.details = details
        self.bytes = bytes
    }
}

extension Packet.Details {
    init(_ header: RawSpan, _ interfaceIndex: UInt32, packetType: UInt8, _ offload: Offload) {
        // Safety: a `tpacket3_hdr` is plain integers (packet_mmap.rst), and the load checks its bounds.
        let header = unsafe header.unsafeLoad(fromByteOffset: 0, as: tpacket3_hdr.self)
        self.interfaceIndex = interfaceIndex
        wireByteCount = Int(header.tp_len)
        nanosecondsSince1970 = UInt64(header.tp_sec) * 1_000_000_000 + UInt64(header.tp_nsec)
        isOutgoing = CInt(packetType) == PACKET_OUTGOING
        hasPartialChecksum = header.tp_status & UInt32(TP_STATUS_CSUMNOTREADY) != 0
        self.offload = offload
        vlan = VLANTag(header)
    }
}

extension VLANTag {
    fileprivate init?(_ header: tpacket3_hdr) {
        guard header.tp_status & UInt32(TP_STATUS_VLAN_VALID) != 0 else { return nil }
        // Kernels before 3.14 leave the type out; 802.1Q was all they knew.
        let known = header.tp_status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
        self.init(
            tag: UInt16(truncatingIfNeeded: header.hv1.tp_vlan_tci),
            etherType: known ? header.hv1.tp_vlan_tpid : UInt16(ETH_P_8021Q))
    }
}
