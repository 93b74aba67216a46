/// Where the headers are that the next primitives of a filter speak of.
///
/// `vlan`, `mpls`, `pppoes`, `geneve` and `vxlan` move them for all that follows in the text, also behind
/// `or`: pcap-filter(7) has it so.
struct Layers {
    /// A place in the packet: a constant, behind a number that the program computes if there is one.
    struct Offset {
        var constant: UInt32
        var variable: Value?
    }

    /// What precedes the network header.
    enum Link {
        case ethernet
        /// The two bytes of PPP inside PPPoE.
        case ppp
    }

    var link = Link.ethernet
    /// The Ethernet header.
    var header = Offset(constant: 0)
    /// The EtherType, or what stands for it.
    var linkType = Offset(constant: 12)
    /// What follows the link's header.
    var payload = Offset(constant: 14)
    /// Where the network header begins in the payload: behind labels of MPLS.
    var network: UInt32 = 0
    /// The same behind a header of IEEE 802.2.
    var networkBehind802 = UInt32(3)
    /// How many labels of MPLS were spoken of.
    var labelCount = 0
    /// Whether the headers are those inside a tunnel, where there may be no Ethernet header.
    var isInTunnel = false
}

/// What an offset counts from.
enum Anchor {
    case header
    case linkType
    case payload
    case network
    case networkBehind802
    /// The last label of MPLS.
    case label
    /// What follows an IPv4 header.
    case transport4
    /// What follows an IPv6 header without extensions.
    case transport6
}
