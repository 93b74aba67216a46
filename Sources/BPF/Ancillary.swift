/// The kernel's metadata of a packet, which programs read beside its bytes.
///
/// They load it from negative offsets: `SKF_AD_OFF` and up in `<linux/filter.h>`.
package struct Ancillary: Sendable {
    /// The packet's type, as in `sll_pkttype`: `outgoing`, or how the packet came in.
    package var packetType: UInt32 = 0
    /// The packet's EtherType, as the kernel has it.
    package var etherType: UInt32 = 0
    package var interfaceIndex: UInt32 = 0
    /// The VLAN tag that the kernel took out of the frame.
    package var vlanTag: UInt32?
    package var vlanEtherType: UInt32 = 0
    /// The length of the frame, even if fewer of its bytes were captured.
    package var wireByteCount: UInt32?

    package init() {}

    /// `PACKET_OUTGOING` of `<linux/if_packet.h>`.
    package static let outgoing: UInt32 = 4
    /// `PACKET_HOST` of the same header: the frame is addressed to the interface that received it.
    package static let toHost: UInt32 = 0

    /// The offset at which ancillary data begins: `SKF_AD_OFF`, -0x1000 as an unsigned number.
    package static let base: UInt32 = 0xffff_f000
    package static let packetTypeOffset = base + 4
    package static let interfaceIndexOffset = base + 8
    package static let tagPresenceOffset = base + 48

    /// Returns what a load from an offset gives, or nil if a recorded packet does not have it.
    func value(at offset: UInt32) -> UInt32? {
        switch offset &- Self.base {
        case 0: etherType
        case 4: packetType
        case 8: interfaceIndex
        case 44: vlanTag ?? 0
        case 48: vlanTag == nil ? 0 : 1
        case 60: vlanEtherType
        default: nil
        }
    }
}
