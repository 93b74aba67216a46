import Addressing
import CLinux
package import Packets

/// One captured packet, still in the kernel's memory.
package struct Packet: ~Escapable {
    /// The frame from the first byte of its link-layer header, as much as the program kept.
    package let bytes: RawSpan
    /// What the kernel says about the packet.
    package let details: Details

    /// What the kernel says about a packet beside its bytes.
    package struct Details: Equatable, Sendable {
        /// The interface at which the packet was captured.
        package private(set) var interfaceIndex: UInt32
        /// The length of the packet before it was cut.
        package var wireByteCount: Int
        /// The time when the packet passed, by the node's clock, in nanoseconds since 1970.
        package let nanosecondsSince1970: UInt64
        /// Whether the packet leaves through the interface (`PACKET_OUTGOING`).
        package private(set) var isOutgoing: Bool
        /// Whether the packet is addressed to the interface, as the kernel has found (`PACKET_HOST`).
        package let isToInterface: Bool
        /// Whether the packet was captured at the pod's end of a pair, and is described as at the
        /// host's end.
        package private(set) var isSeenFromHost = false
        /// Whether the transport's checksum is partial: the sum of the pseudo-header only.
        ///
        /// The kernel leaves it so on packets that have not met a wire yet, and says so even if the
        /// ring does not tell the offload. If packets are nested, only the offload says whose
        /// checksum is meant.
        package let hasPartialChecksum: Bool
        /// The work that the sender has left to the device; none if the ring does not tell it.
        package let offload: Offload
        /// The VLAN tag that the kernel took out of the frame, if it had one.
        package var vlan: VLANTag?
        /// Whether the end of the packet is missing because a block of the ring was too small.
        package let isCutByBlock: Bool

        /// Whether the frame may differ from what a wire would have carried.
        package var isUnfinished: Bool { offload.isPending || vlan != nil }

        /// The details that the host's end of the pair would have, for a packet seen at the pod's end.
        ///
        /// What leaves one end comes in at the other.
        ///
        /// - Parameter index: The index of the host's end.
        /// - Returns: The details at that end.
        package func seenFromHost(at index: UInt32) -> Self {
            var details = self
            details.interfaceIndex = index
            details.isOutgoing = !isOutgoing
            details.isSeenFromHost = true
            return details
        }

        /// Whether the kernel has said inside the pod that the packet is addressed to its interface.
        package var isToPodItself: Bool { isSeenFromHost && isToInterface }
    }

    /// A packet from its parts, such as one that was kept beyond its block.
    @_lifetime(copy bytes)
    package init(_ details: Details, _ bytes: RawSpan) {
        self.details = details
        self.bytes = bytes
    }
}

extension Packet {
    /// How to complete the partial checksum, if nothing else is left to do and no byte was cut off.
    package var plainChecksum: PlainChecksum? {
        let offload = details.offload
        guard offload.needsChecksum, offload.segmentation == .none, details.vlan == nil,
            details.wireByteCount == bytes.byteCount
        else { return nil }
        return PlainChecksum(
            bytes, checksumStart: Int(offload.checksumStart),
            checksumOffset: Int(offload.checksumOffset))
    }
}

extension Packet.Details {
    init(
        _ header: RawSpan, _ interfaceIndex: UInt32, packetType: UInt8, _ offload: Offload,
        isCutByBlock: Bool
    ) {
        // Safety: a `tpacket3_hdr` is plain integers (packet_mmap.rst), and the load checks its bounds.
        let header = unsafe header.unsafeLoad(fromByteOffset: 0, as: tpacket3_hdr.self)
        self.interfaceIndex = interfaceIndex
        wireByteCount = Int(header.tp_len)
        nanosecondsSince1970 = UInt64(header.tp_sec) * 1_000_000_000 + UInt64(header.tp_nsec)
        isOutgoing = CInt(packetType) == PACKET_OUTGOING
        isToInterface = CInt(packetType) == PACKET_HOST
        hasPartialChecksum = header.tp_status & UInt32(TP_STATUS_CSUMNOTREADY) != 0
        self.offload = offload
        vlan = VLANTag(header)
        self.isCutByBlock = isCutByBlock
    }
}

extension VLANTag {
    fileprivate init?(_ header: tpacket3_hdr) {
        guard header.tp_status & UInt32(TP_STATUS_VLAN_VALID) != 0 else { return nil }
        // Kernels before 3.14 do not give the type, and knew 802.1Q only.
        let known = header.tp_status & UInt32(TP_STATUS_VLAN_TPID_VALID) != 0
        self.init(
            tag: UInt16(truncatingIfNeeded: header.hv1.tp_vlan_tci),
            etherType: known ? header.hv1.tp_vlan_tpid : UInt16(ETH_P_8021Q))
    }
}
