import Addressing

/// The part of a packet in the opening of a conversation: it asks for an answer, or it is one.
package enum Opening: Equatable, Sendable {
    /// A TCP segment with SYN and without ACK, which may also answer another one (RFC 9293, 3.5).
    case connectionRequest
    /// A TCP segment with SYN and ACK.
    case connectionAnswer
    /// A TCP segment with RST.
    case reset
    /// An ICMP or ICMPv6 echo request, with its sequence number.
    case echoRequest(UInt16)
    /// An ICMP or ICMPv6 echo reply, with its sequence number.
    case echoReply(UInt16)

    /// Whether the packet asks for an answer.
    package var isRequest: Bool {
        switch self {
        case .connectionRequest, .echoRequest: true
        case .connectionAnswer, .reset, .echoReply: false
        }
    }

    /// Whether the packet answers a request that went the other way.
    package var isAnswer: Bool {
        switch self {
        case .connectionRequest, .connectionAnswer, .reset, .echoReply: true
        case .echoRequest: false
        }
    }

    /// The number that tells an echo from others of its flow; 0 for TCP.
    package var sequence: UInt16 {
        switch self {
        case .echoRequest(let sequence), .echoReply(let sequence): sequence
        case .connectionRequest, .connectionAnswer, .reset: 0
        }
    }

    /// Reads a TCP segment's flags; nil if it has neither SYN nor RST.
    package init?(tcpFlags flags: UInt8) {
        guard flags & TCPHeader.openingFlags != 0 else { return nil }
        if flags & TCPHeader.rst != 0 {
            self = .reset
        } else {
            self = flags & TCPHeader.ack == 0 ? .connectionRequest : .connectionAnswer
        }
    }

    /// Reads the transport header at an offset of a frame; `end` is where the packet ends.
    init?(_ transport: UInt8, _ frame: RawSpan, at offset: Int, end: Int) {
        switch transport {
        case IPProtocol.tcp:
            guard offset + TCPHeader.flags < end else { return nil }
            self.init(tcpFlags: frame.uint8(at: offset + TCPHeader.flags))
        case IPProtocol.icmp, IPProtocol.icmpv6:
            guard offset + ICMPHeader.sequence + 2 <= end else { return nil }
            let sequence = frame.uint16(at: offset + ICMPHeader.sequence)
            switch (transport, frame.uint8(at: offset + ICMPHeader.type)) {
            case (IPProtocol.icmp, ICMPHeader.echoRequest),
                (IPProtocol.icmpv6, ICMPHeader.echoRequestV6):
                self = .echoRequest(sequence)
            case (IPProtocol.icmp, ICMPHeader.echoReply),
                (IPProtocol.icmpv6, ICMPHeader.echoReplyV6):
                self = .echoReply(sequence)
            default: return nil
            }
        default: return nil
        }
    }
}
