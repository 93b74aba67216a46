/// What the kernel knows of a packet beside its bytes. A program reads it with loads from negative
/// offsets, `SKF_AD_OFF` and up in `<linux/filter.h>`.
package struct Ancillary: Sendable {
    /// `sll_pkttype`: 4 towards the pod, `PACKET_OUTGOING`; everything else comes from it.
    package var packetType: UInt32 = 0
    /// The EtherType that the kernel handed the packet on with.
    package var etherType: UInt32 = 0
    package var interfaceIndex: UInt32 = 0
    /// The tag that the kernel took out of the frame.
    package var vlanTag: UInt32?
    package var vlanEtherType: UInt32 = 0
    /// How long the frame is, also where fewer of its bytes were captured.
    package var wireByteCount: UInt32?

    package init() {}

    /// `PACKET_OUTGOING` of `<linux/if_packet.h>`.
    package static let outgoing: UInt32 = 4

    /// Where the loads of ancillary data begin: `SKF_AD_OFF`, -0x1000 as an unsigned number.
    package static let base: UInt32 = 0xffff_f000
    package static let packetTypeOffset = base + 4
    package static let interfaceIndexOffset = base + 8
    package static let tagPresenceOffset = base + 48

    /// The answer to a load from `offset`, or nil where a recorded packet has none.
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
