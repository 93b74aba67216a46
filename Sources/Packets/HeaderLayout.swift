package import Addressing

// The table of header fields: the offset of each from the first byte of its header, the lengths of
// the headers, and the values that podwire compares or writes.
//
// The table is public, because the compiler folds only public constants into the code of another
// module, and the data path reads them for every packet.

/// The layout of an Ethernet header (RFC 894, IEEE 802.3).
public enum EthernetHeader {
    /// The destination's address.
    public static let destination = 0
    /// The source's address.
    public static let source = 6
    /// The EtherType, or the first tag.
    public static let etherType = 12
    /// The length of the header, without tags.
    public static let byteCount = 14

    /// The bit of a destination's first byte that marks a group address (IEEE 802, 8.2).
    public static let groupBit: UInt8 = 0x01
}

/// The layout of an IPv4 header (RFC 791, 3.1).
public enum IPv4Header {
    /// The length of the whole packet.
    public static let totalLength = 2
    /// The identification, which fragments of one datagram share.
    public static let identification = 4
    /// Three flags, and the fragment's offset in units of eight bytes.
    public static let fragment = 6
    /// How many more routers may pass the packet on.
    public static let timeToLive = 8
    /// The protocol of what follows.
    public static let protocolNumber = 9
    /// The header's own checksum.
    public static let checksum = 10
    /// The source's address.
    public static let source = 12
    /// The destination's address.
    public static let destination = 16
    /// The length of a header without options.
    public static let byteCount = 20

    /// The first byte of a header without options: version 4, five words.
    public static let plainStart: UInt8 = 0x45
    /// The bits of `fragment` of which every fragment has some: "more fragments", or an offset.
    public static let fragmentMask: UInt16 = 0x3fff
    /// The flag that forbids fragmentation (DF).
    public static let dontFragment: UInt16 = 0x4000
    /// The bits of `fragment` that are the offset.
    public static let fragmentOffsetMask: UInt16 = 0x1fff
    /// The bit of `fragment` that all fragments but the last one have.
    public static let moreFragments: UInt16 = 0x2000
}

/// The layout of the fixed IPv6 header (RFC 8200, 3).
public enum IPv6Header {
    /// The version in the upper four bits.
    public static let version = 0
    /// The length of what follows the fixed header.
    public static let payloadLength = 4
    /// The protocol or extension header that follows.
    public static let nextHeader = 6
    /// The hop limit.
    public static let hopLimit = 7
    /// The source's address.
    public static let source = 8
    /// The destination's address.
    public static let destination = 24
    /// The length of the fixed header.
    public static let byteCount = 40
}

/// The layout of the IPv6 extension headers (RFC 8200, 4).
public enum IPv6ExtensionHeader {
    /// The protocol or extension header that follows.
    public static let nextHeader = 0
    /// The length in units of eight bytes beyond the first; a fragment header has none.
    public static let length = 1
    /// The number of addresses that a routing header has not been to yet.
    public static let segmentsLeft = 3
    /// A fragment's offset in bytes, and the "more fragments" flag in its last bit.
    public static let fragment = 2
    /// The identification, which fragments of one datagram share.
    public static let identification = 4
    /// The least length, and the length of a fragment header.
    public static let byteCount = 8

    /// The bits of `fragment` that are the offset.
    public static let fragmentOffsetMask: UInt16 = 0xfff8
    /// The bit of `fragment` that all fragments but the last one have.
    public static let moreFragments: UInt16 = 0x0001
}

/// The ports with which TCP, UDP and SCTP headers begin.
public enum PortsHeader {
    /// The source's port.
    public static let source = 0
    /// The destination's port.
    public static let destination = 2
    /// The length of both.
    public static let byteCount = 4
}

/// The layout of a TCP header (RFC 9293, 3.1).
public enum TCPHeader {
    /// The sequence number.
    public static let sequence = 4
    /// The header's length in words in the upper four bits, and the flags in the lower twelve.
    public static let lengthAndFlags = 12
    /// The lower eight flags.
    public static let flags = 13
    /// The checksum.
    public static let checksum = 16
    /// The length of a header without options.
    public static let byteCount = 20

    /// The flag that opens a connection: SYN, a bit of `flags`.
    public static let syn: UInt8 = 0x02
    /// The flag that refuses or breaks a connection: RST, a bit of `flags`.
    public static let rst: UInt8 = 0x04
    /// The flag of all segments but the first one: ACK, a bit of `flags`.
    public static let ack: UInt8 = 0x10
    /// The bits of `flags` of which a segment has one if it opens, accepts or refuses a connection.
    public static let openingFlags: UInt8 = 0x06
    /// The bits of `flags` of which a segment has one if it opens or ends a connection: SYN, FIN, RST.
    public static let boundaryFlags: UInt8 = 0x07

    /// The flags that belong to a stream's last segment only: FIN and PSH.
    public static let lastSegmentFlags: UInt16 = 0x09
    /// The flag of the first segment that answers a congestion mark: CWR (RFC 3168, 6.1.2).
    public static let firstSegmentFlags: UInt16 = 0x80
}

/// The layout of a UDP header (RFC 768).
public enum UDPHeader {
    /// The length of header and payload.
    public static let length = 4
    /// The checksum.
    public static let checksum = 6
    /// The length of the header.
    public static let byteCount = 8
}

/// The layout of an SCTP common header (RFC 9260, 3.1).
public enum SCTPHeader {
    /// The checksum, a CRC32c.
    public static let checksum = 8
    /// The length of the header.
    public static let byteCount = 12
}

/// The layout of ICMP and ICMPv6 messages (RFC 792, RFC 4443).
public enum ICMPHeader {
    /// The message's type.
    public static let type = 0
    /// The checksum.
    public static let checksum = 2
    /// The identifier of an echo request or reply.
    public static let identifier = 4
    /// The sequence number of an echo request or reply.
    public static let sequence = 6
    /// The address that a neighbour solicitation asks for (RFC 4861, 4.3).
    public static let solicitedTarget = 8
    /// The length of the header, behind which an error quotes a packet.
    public static let byteCount = 8

    /// The ICMP type of an echo reply.
    public static let echoReply: UInt8 = 0
    /// The ICMP type of an echo request.
    public static let echoRequest: UInt8 = 8
    /// The ICMPv6 type of an echo request, and the first one that is not an error.
    public static let echoRequestV6: UInt8 = 128
    /// The ICMPv6 type of an echo reply.
    public static let echoReplyV6: UInt8 = 129
    /// The ICMPv6 type of a neighbour solicitation.
    public static let neighbourSolicitation: UInt8 = 135
    /// The ICMP types of errors, which quote a packet.
    ///
    /// Unreachable, source quench, redirect, time exceeded and parameter problem.
    public static let errors: [UInt8] = [3, 4, 5, 11, 12]
}

/// The layout of an ARP packet for IPv4 over Ethernet (RFC 826).
public enum ARPHeader {
    /// The EtherType of the addresses asked for.
    public static let protocolType = 2
    /// The lengths of both kinds of addresses, a byte each.
    public static let addressByteCounts = 4
    /// What the packet asks or answers.
    public static let operation = 6
    /// The sender's IPv4 address.
    public static let senderAddress = 14
    /// The IPv4 address that is asked for.
    public static let targetAddress = 24
    /// The length of the packet.
    public static let byteCount = 28

    /// The value of `addressByteCounts` for IPv4 over Ethernet.
    public static let ipv4OverEthernet: UInt16 = 0x0604
    /// The operation of a request.
    public static let request: UInt16 = 1
}

/// The layout of plain frames: an untagged Ethernet header, then an IP header without options.
///
/// Most frames are plain, and the kernel's programs decide about no others. Offsets count from the
/// first byte of the frame.
public enum PlainFrame {
    /// A plain frame with an IPv4 packet.
    public enum IPv4 {
        /// The length of the whole packet.
        public static let length = EthernetHeader.byteCount + IPv4Header.totalLength
        /// The flags and the fragment's offset.
        public static let fragment = EthernetHeader.byteCount + IPv4Header.fragment
        /// The transport's protocol.
        public static let protocolNumber = EthernetHeader.byteCount + IPv4Header.protocolNumber
        /// The source's address.
        public static let source = EthernetHeader.byteCount + IPv4Header.source
        /// The destination's address.
        public static let destination = EthernetHeader.byteCount + IPv4Header.destination
        /// The transport's header.
        public static let transport = EthernetHeader.byteCount + IPv4Header.byteCount

        /// The least value of `length` that leaves room for ports.
        public static let lengthWithPorts = IPv4Header.byteCount + PortsHeader.byteCount
        /// The least value of `length` that leaves room for TCP's flags.
        public static let lengthWithFlags = IPv4Header.byteCount + TCPHeader.flags + 1
    }

    /// A plain frame with an IPv6 packet.
    public enum IPv6 {
        /// The length of what follows the fixed header.
        public static let length = EthernetHeader.byteCount + IPv6Header.payloadLength
        /// The transport's protocol.
        public static let protocolNumber = EthernetHeader.byteCount + IPv6Header.nextHeader
        /// The source's address.
        public static let source = EthernetHeader.byteCount + IPv6Header.source
        /// The destination's address.
        public static let destination = EthernetHeader.byteCount + IPv6Header.destination
        /// The transport's header.
        public static let transport = EthernetHeader.byteCount + IPv6Header.byteCount

        /// The least value of `length` that leaves room for ports.
        public static let lengthWithPorts = PortsHeader.byteCount
        /// The least value of `length` that leaves room for TCP's flags.
        public static let lengthWithFlags = TCPHeader.flags + 1
    }
}

extension IPAddress.Family {
    /// The length of an IP header without options or extension headers.
    package var headerByteCount: Int {
        switch self {
        case .ipv4: IPv4Header.byteCount
        case .ipv6: IPv6Header.byteCount
        }
    }

    /// The offset of the source address in an IP header; the destination's address follows it.
    package var sourceOffset: Int {
        switch self {
        case .ipv4: IPv4Header.source
        case .ipv6: IPv6Header.source
        }
    }

    /// The offset of the length field in an IP header.
    package var lengthOffset: Int {
        switch self {
        case .ipv4: IPv4Header.totalLength
        case .ipv6: IPv6Header.payloadLength
        }
    }

    /// The offset from which the length field counts: IPv6 leaves its fixed header out.
    package var lengthStart: Int {
        switch self {
        case .ipv4: 0
        case .ipv6: IPv6Header.byteCount
        }
    }
}
