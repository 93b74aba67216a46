package import Addressing
import CMnl
import Glibc
import Packets

extension TrackedFlow {
    /// Reads an entry of connection tracking; nil if it lacks one of the two tuples.
    ///
    /// The format is that of `<linux/netfilter/nfnetlink_conntrack.h>`.
    package init?(_ message: borrowing NetlinkMessage) {
        guard let header = message.header(nfgenmsg.self),
            let family = IPAddress.Family(native: header.nfgen_family)
        else { return nil }
        var original: FlowKey?
        var reply: FlowKey?
        message.forEachAttribute(after: nfgenmsg.self) { type, value in
            switch UInt32(type) {
            case CTA_TUPLE_ORIG.rawValue: original = FlowKey(tuple: value, family)
            case CTA_TUPLE_REPLY.rawValue: reply = FlowKey(tuple: value, family)
            default: break
            }
        }
        guard let original, let reply else { return nil }
        self.init(original: original, reply: reply)
    }
}

extension FlowKey {
    fileprivate init?(tuple: RawSpan, _ family: IPAddress.Family) {
        var source: IPAddress?
        var destination: IPAddress?
        var transport: UInt8?
        var ports: (source: UInt16, destination: UInt16) = (0, 0)
        NetlinkMessage.forEachAttribute(in: tuple) { type, value in
            switch UInt32(type) {
            case CTA_TUPLE_IP.rawValue:
                NetlinkMessage.forEachAttribute(in: value) { type, value in
                    guard value.byteCount == family.byteCount else { return }
                    switch UInt32(type) {
                    case CTA_IP_V4_SRC.rawValue, CTA_IP_V6_SRC.rawValue:
                        source = IPAddress(family, value, at: 0)
                    case CTA_IP_V4_DST.rawValue, CTA_IP_V6_DST.rawValue:
                        destination = IPAddress(family, value, at: 0)
                    default: break
                    }
                }
            case CTA_TUPLE_PROTO.rawValue:
                NetlinkMessage.forEachAttribute(in: value) { type, value in
                    switch (UInt32(type), value.byteCount) {
                    case (CTA_PROTO_NUM.rawValue, 1): transport = value.uint8(at: 0)
                    case (CTA_PROTO_SRC_PORT.rawValue, 2): ports.source = value.uint16(at: 0)
                    case (CTA_PROTO_DST_PORT.rawValue, 2): ports.destination = value.uint16(at: 0)
                    case (CTA_PROTO_ICMP_ID.rawValue, 2), (CTA_PROTO_ICMPV6_ID.rawValue, 2):
                        ports = (value.uint16(at: 0), value.uint16(at: 0))
                    default: break
                    }
                }
            default: break
            }
        }
        guard let source, let destination, let transport else { return nil }
        self.init(
            transport: transport, source: source, destination: destination,
            sourcePort: ports.source, destinationPort: ports.destination)
    }

    /// The flow as the tuple that a request begins with.
    var tuple: NetlinkAttribute {
        let isIPv4 = source.family == .ipv4
        return .nest(
            CTA_TUPLE_ORIG,
            [
                .nest(
                    CTA_TUPLE_IP,
                    [
                        .bytes(isIPv4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, source.bytes),
                        .bytes(isIPv4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, destination.bytes),
                    ]),
                .nest(CTA_TUPLE_PROTO, [.bytes(CTA_PROTO_NUM, [transport])] + ports),
            ])
    }

    /// The ports, or the type, code and id of an ICMP echo, which is asked for by its request.
    private var ports: [NetlinkAttribute] {
        let (near, far) = (sourcePort.bytes, destinationPort.bytes)
        switch transport {
        case IPProtocol.icmp where source.family == .ipv4:
            return [
                .bytes(CTA_PROTO_ICMP_TYPE, [8]), .bytes(CTA_PROTO_ICMP_CODE, [0]),
                .bytes(CTA_PROTO_ICMP_ID, near),
            ]
        case IPProtocol.icmpv6 where source.family == .ipv6:
            return [
                .bytes(CTA_PROTO_ICMPV6_TYPE, [128]), .bytes(CTA_PROTO_ICMPV6_CODE, [0]),
                .bytes(CTA_PROTO_ICMPV6_ID, near),
            ]
        default: return [.bytes(CTA_PROTO_SRC_PORT, near), .bytes(CTA_PROTO_DST_PORT, far)]
        }
    }
}

extension NetlinkAttribute {
    fileprivate static func bytes(
        _ type: some RawRepresentable<UInt32>, _ bytes: [UInt8]
    ) -> Self {
        .bytes(type: Int(type.rawValue), bytes)
    }

    fileprivate static func nest(
        _ type: some RawRepresentable<UInt32>, _ attributes: [Self]
    ) -> Self {
        .nest(type: Int(type.rawValue), attributes)
    }
}

extension UInt16 {
    fileprivate var bytes: [UInt8] { [UInt8(self >> 8), UInt8(truncatingIfNeeded: self)] }
}
