import Addressing
import Observation
import ObservationFixtures

/// Requests and answers: the decision about each is the rule's, but the program leaves it to user
/// space.
extension RuleTests {
    private static func tcp(_ ports: [UInt8], flags: UInt8) -> [UInt8] {
        var bytes = ports
        bytes[13] = flags
        return bytes
    }

    private static func echo(_ type: UInt8) -> [UInt8] { [type, 0, 0, 0, 0, 1, 0, 1] }

    static let openings: [Case] = [
        Case(
            "SYN enters", ingress(Site.a4, Site.c4, tcp(high, flags: 0x02)),
            .refuse(.observedEnd), .punt),
        Case(
            "SYN reaches the server", egress(Site.c4, Site.a4, tcp(high, flags: 0x02)),
            going: .toPod, .report(.observedEnd), .punt),
        Case(
            "SYN-ACK enters", ingress(Site.a4, Site.c4, tcp(low, flags: 0x12)),
            .report(.observedEnd), .punt),
        Case(
            "SYN-ACK reaches the client", egress(Site.c6, Site.a6, tcp(low, flags: 0x12)),
            going: .toPod, .refuse(.observedEnd), .punt),
        Case(
            "RST enters", ingress(Site.a6, Site.c6, tcp(low, flags: 0x14)),
            .report(.observedEnd), .punt),
        Case(
            "SYN from the lower port", ingress(Site.a6, Site.c6, tcp(low, flags: 0x02)),
            .report(.observedEnd), .punt),
        Case(
            "FIN enters", ingress(Site.a4, Site.c4, tcp(high, flags: 0x11)),
            .refuse(.observedEnd), .drop),
        Case(
            "UDP with the byte of a SYN",
            ingress(Site.a4, Site.c4, tcp(high, flags: 0x02), protocol: 17),
            .refuse(.observedEnd), .drop),
        Case(
            "TCP cut before its flags", [UInt8](ingress(Site.a4, Site.c4, high).prefix(34 + 13)),
            .refuse(.observedEnd), .punt),
        Case(
            "TCP cut behind its flags", [UInt8](ingress(Site.a4, Site.c4, high).prefix(34 + 14)),
            .refuse(.observedEnd), .drop),
        Case(
            "SYN to the outside", ingress(Site.a4, Site.outside4, tcp(high, flags: 0x02)),
            .report(.oneEndIsNoPod), .keep),
        Case(
            "SYN to itself, leaving", egress(Site.a4, Site.a4, tcp(high, flags: 0x02)),
            going: .toPod, .refuse(.itself), .punt),
        Case(
            "flooded SYN", egress(Site.c4, Site.b4, tcp(high, flags: 0x02), mac: Site.bMAC),
            going: .toPod, .refuse(.flooded), .punt),
        Case(
            "ping enters", ingress(Site.a4, Site.c4, echo(8), protocol: 1),
            .report(.observedEnd), .punt),
        Case(
            "ping, from the higher address", ingress(Site.b4, Site.a4, echo(8), protocol: 1),
            .refuse(.observedEnd), .punt),
        Case(
            "pong", ingress(Site.a4, Site.c4, echo(0), protocol: 1), .report(.observedEnd), .punt),
        Case(
            "timestamp request", ingress(Site.a4, Site.c4, echo(13), protocol: 1),
            .report(.observedEnd), .keep),
        Case(
            "ICMPv6 ping", ingress(Site.a6, Site.c6, echo(128), protocol: 58),
            .report(.observedEnd), .punt),
        Case(
            "ICMPv6 pong", egress(Site.c6, Site.a6, echo(129), protocol: 58), going: .toPod,
            .report(.observedEnd), .punt),
        Case(
            "multicast listener query", ingress(Site.a6, Site.c6, echo(130), protocol: 58),
            .report(.observedEnd), .keep),
        Case(
            "ping to the outside", ingress(Site.a4, Site.outside4, echo(8), protocol: 1),
            .report(.oneEndIsNoPod), .keep),
    ]
}
