import Addressing
import ObservationFixtures
import Packets
import Testing

/// The part of packets in opening a conversation, read from bytes as they are on a wire.
@Suite("An opening")
struct OpeningTests {
    /// A packet without its Ethernet header, and what it asks or answers.
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let packet: [UInt8]
        let opening: Opening?

        var testDescription: String { name }

        init(_ name: String, _ packet: [UInt8], _ opening: Opening?) {
            (self.name, self.packet, self.opening) = (name, packet, opening)
        }
    }

    // Linux 6.12 sends these headers; the addresses are changed, and the checksums are not looked at.
    private static let syn: [UInt8] = [
        0x45, 0x00, 0x00, 0x3c, 0x9c, 0x52, 0x40, 0x00, 0x40, 0x06, 0x00, 0x00,
        0x0a, 0xf4, 0x01, 0x02, 0x0a, 0xf4, 0x02, 0x02,
        0x9c, 0x40, 0x1f, 0x90, 0x5b, 0x3a, 0x11, 0x07, 0x00, 0x00, 0x00, 0x00,
        0xa0, 0x02, 0xfa, 0xf0, 0x00, 0x00, 0x00, 0x00,
        0x02, 0x04, 0x05, 0xb4, 0x04, 0x02, 0x08, 0x0a, 0x3c, 0x51, 0x6e, 0x1d, 0x00, 0x00,
        0x00, 0x00, 0x01, 0x03, 0x03, 0x07,
    ]
    private static let ping: [UInt8] =
        [
            0x45, 0x00, 0x00, 0x54, 0x30, 0x11, 0x40, 0x00, 0x40, 0x01, 0x00, 0x00,
            0x0a, 0xf4, 0x01, 0x02, 0x0a, 0xf4, 0x02, 0x02,
            0x08, 0x00, 0x5a, 0x1e, 0x12, 0x34, 0x00, 0x07,
        ] + [UInt8](repeating: 0x55, count: 56)
    private static let ping6: [UInt8] =
        [0x60, 0x0b, 0x1e, 0x5f, 0x00, 0x10, 0x3a, 0x40] + Site.a6.bytes + Site.c6.bytes
        + [0x80, 0x00, 0x7a, 0x01, 0x12, 0x34, 0xab, 0xcd] + [UInt8](repeating: 0, count: 8)

    private static func changed(_ packet: [UInt8], _ bytes: [Int: UInt8]) -> [UInt8] {
        var packet = packet
        for (offset, byte) in bytes { packet[offset] = byte }
        return packet
    }

    private static func tcp(flags: UInt8) -> [UInt8] { changed(syn, [33: flags]) }

    static let tcp: [Row] = [
        Row("SYN", syn, .connectionRequest),
        Row("SYN with ECN's flags", tcp(flags: 0xc2), .connectionRequest),
        Row(
            "SYN with data", changed(syn, [3: 0x44]) + [1, 2, 3, 4, 5, 6, 7, 8], .connectionRequest),
        Row("SYN and FIN", tcp(flags: 0x03), .connectionRequest),
        Row("SYN-ACK", tcp(flags: 0x12), .connectionAnswer),
        Row("SYN-ACK with ECN's flag", tcp(flags: 0x52), .connectionAnswer),
        Row("RST", tcp(flags: 0x04), .reset),
        Row("RST-ACK", tcp(flags: 0x14), .reset),
        Row("RST and SYN", tcp(flags: 0x06), .reset),
        Row("ACK", tcp(flags: 0x10), nil),
        Row("FIN-ACK", tcp(flags: 0x11), nil),
        Row("no flags", tcp(flags: 0), nil),
        Row("all flags but SYN and RST", tcp(flags: 0xf9), nil),
        Row(
            "IPv4 options", changed([0x46] + syn[1..<20] + [1, 1, 1, 1] + syn[20...], [3: 0x40]),
            .connectionRequest),
        Row("UDP with the byte of a SYN", changed(syn, [9: 17]), nil),
        Row("SCTP with the byte of a SYN", changed(syn, [9: 132]), nil),
    ]

    static let cut: [Row] = [
        Row("cut before the flags", [UInt8](syn.prefix(33)), nil),
        Row("cut behind the flags", [UInt8](syn.prefix(34)), .connectionRequest),
        Row("padding in the flags' place", changed(syn, [3: 33]), nil),
        Row("the flags are the last byte", changed(syn, [3: 34]), .connectionRequest),
        Row("a total length of 0", changed(syn, [3: 0]), .connectionRequest),
        Row("first fragment", changed(syn, [6: 0x20]), nil),
        Row("later fragment", changed(syn, [6: 0x00, 7: 0x03]), nil),
        Row("a header of 16 bytes", changed(syn, [0: 0x44]), nil),
        Row("ping, cut before its number", [UInt8](ping.prefix(27)), nil),
        Row("ping, cut behind its number", [UInt8](ping.prefix(28)), .echoRequest(7)),
        Row("ping, number behind the packet's end", changed(ping, [3: 27]), nil),
        Row("ping over IPv6, cut", [UInt8](ping6.prefix(47)), nil),
        Row("ping, first fragment", changed(ping, [6: 0x20]), nil),
    ]

    static let echo: [Row] = [
        Row("ping", ping, .echoRequest(7)),
        Row("pong", changed(ping, [20: 0]), .echoReply(7)),
        Row("timestamp request", changed(ping, [20: 13]), nil),
        Row("port unreachable", changed(ping, [20: 3]), nil),
        Row("ping over IPv6", ping6, .echoRequest(0xabcd)),
        Row("pong over IPv6", changed(ping6, [40: 129]), .echoReply(0xabcd)),
        Row("neighbour solicitation", changed(ping6, [40: 135]), nil),
        Row("no route, over IPv6", changed(ping6, [40: 1]), nil),
        Row("ICMPv6 over IPv4", changed(ping, [9: 58, 20: 128]), nil),
        Row("ICMP over IPv6", changed(ping6, [6: 1, 40: 8]), nil),
    ]

    /// A SYN over IPv6 behind extension headers, of which `kinds` has the numbers.
    private static func syn6(_ kinds: [UInt8], _ extensions: [[UInt8]]) -> [UInt8] {
        var packet: [UInt8] = [0x60, 0, 0, 0]
        let segment = syn[20...]
        packet.append(
            bigEndian: UInt16(extensions.reduce(segment.count) { $0 + 1 + $1.count }))
        packet += [kinds[0], 64] + Site.a6.bytes + Site.c6.bytes
        for (next, rest) in zip(kinds.dropFirst(), extensions) { packet += [next] + rest }
        return packet + segment
    }

    private static let options: [UInt8] = [0, 1, 4, 0, 0, 0, 0]

    static let ipv6: [Row] = [
        Row("SYN over IPv6", syn6([6], []), .connectionRequest),
        Row("behind hop-by-hop options", syn6([0, 6], [options]), .connectionRequest),
        Row(
            "behind a route and destination options",
            syn6([43, 60, 6], [[0, 4, 0, 0, 0, 0, 0], options]), .connectionRequest),
        Row(
            "atomic fragment", syn6([44, 6], [[0, 0, 0, 1, 2, 3, 4]]), .connectionRequest),
        Row("first fragment", syn6([44, 6], [[0, 0, 1, 1, 2, 3, 4]]), nil),
        Row("last fragment", syn6([44, 6], [[0, 0, 8, 1, 2, 3, 4]]), nil),
        Row(
            "behind an authentication header",
            syn6([51, 6], [[1] + [UInt8](repeating: 0, count: 10)]),
            .connectionRequest),
        Row("behind encryption", syn6([50, 6], [options]), nil),
        Row(
            "behind more headers than are read",
            syn6([UInt8](repeating: 60, count: 9) + [6], [[UInt8]](repeating: options, count: 9)),
            nil),
    ]

    @Test("is read from a packet", arguments: tcp + cut + echo + ipv6)
    func reads(_ row: Row) {
        let isIPv4 = row.packet[0] >> 4 == 4
        let frame = Frame.ethernet(
            to: Site.bridgeMAC, from: Site.aMAC, type: isIPv4 ? EtherType.ipv4 : EtherType.ipv6,
            row.packet)
        #expect(Headers(frame.wire).packet?.opening == row.opening)
    }

    @Test("is not changed by padding behind the packet", arguments: tcp + echo + ipv6)
    func padding(_ row: Row) {
        let isIPv4 = row.packet[0] >> 4 == 4
        let frame = Frame.ethernet(
            to: Site.bridgeMAC, from: Site.aMAC, type: isIPv4 ? EtherType.ipv4 : EtherType.ipv6,
            row.packet + [UInt8](repeating: 0x02, count: 12))
        #expect(Headers(frame.wire).packet?.opening == row.opening)
    }

    @Test("asks, answers, or does both")
    func roles() {
        let rows: [(Opening, asks: Bool, answers: Bool, sequence: UInt16)] = [
            // A SYN answers another one if both ends open the connection at once.
            (.connectionRequest, true, true, 0), (.connectionAnswer, false, true, 0),
            (.reset, false, true, 0), (.echoRequest(9), true, false, 9),
            (.echoReply(9), false, true, 9),
        ]
        for row in rows {
            #expect(row.0.isRequest == row.asks, "\(row.0)")
            #expect(row.0.isAnswer == row.answers, "\(row.0)")
            #expect(row.0.sequence == row.sequence, "\(row.0)")
        }
    }
}
