import Addressing
import BPF
import Observation
import ObservationFixtures
import Testing

/// A frame at an edge, with the decision of the rule and the verdict of the program.
struct Case: CustomTestStringConvertible, Sendable {
    let name: String
    let frame: [UInt8]
    let direction: Direction
    let isAtB: Bool
    let decision: Decision
    let verdict: EdgeProgram.Verdict

    var testDescription: String { name }

    init(
        _ name: String, _ frame: [UInt8], going direction: Direction = .fromPod, atB: Bool = false,
        _ decision: Decision, _ verdict: EdgeProgram.Verdict
    ) {
        (self.name, self.frame, self.decision, self.verdict) = (name, frame, decision, verdict)
        (self.direction, isAtB) = (direction, atB)
    }

    var point: ObservationPoint { isAtB ? Site.atB : Site.atA }
}

/// The cases: what the rule and the program say about one frame each.
extension RuleTests {
    static func ingress(
        _ from: IPAddress, _ to: IPAddress, _ payload: [UInt8], protocol number: UInt8 = 6,
        fragment: UInt16 = 0, options: Int = 0, length: Int? = nil
    ) -> [UInt8] {
        Frame.ethernet(
            to: Site.bridgeMAC, from: Site.aMAC, type: Frame.type(of: from),
            Frame.ip(
                from: from, to: to, protocol: number, fragment: fragment, options: options,
                length: length, payload))
    }

    static func egress(
        _ from: IPAddress, _ to: IPAddress, _ payload: [UInt8], protocol number: UInt8 = 6,
        mac: MACAddress = Site.aMAC
    ) -> [UInt8] {
        Frame.ethernet(
            to: mac, from: Site.bridgeMAC, type: Frame.type(of: from),
            Frame.ip(from: from, to: to, protocol: number, payload))
    }

    static let low = Frame.ports(80, 40000), high = Frame.ports(40000, 80)
    private static let equal = Frame.ports(5000, 5000)

    static let unicast: [Case] = [
        Case("server's reply enters", ingress(Site.a4, Site.c4, low), .report(.observedEnd), .keep),
        Case("client's call enters", ingress(Site.a4, Site.c4, high), .refuse(.observedEnd), .drop),
        Case(
            "call reaches the server", egress(Site.c4, Site.a4, high), going: .toPod,
            .report(.observedEnd), .keep),
        Case(
            "reply reaches the client", egress(Site.c4, Site.a4, low), going: .toPod,
            .refuse(.observedEnd), .drop),
        Case(
            "equal ports, lower address enters", ingress(Site.a4, Site.c4, equal),
            .report(.observedEnd), .keep),
        Case(
            "equal ports, higher address enters", ingress(Site.c4, Site.a4, equal),
            .refuse(.observedEnd), .drop),
        Case("IPv6, server's reply", ingress(Site.a6, Site.c6, low), .report(.observedEnd), .keep),
        Case("IPv6, client's call", ingress(Site.a6, Site.c6, high), .refuse(.observedEnd), .drop),
        Case("IPv6, equal ports", ingress(Site.a6, Site.c6, equal), .report(.observedEnd), .keep),
        Case(
            "IPv6, equal ports, back", egress(Site.c6, Site.a6, equal), going: .toPod,
            .report(.observedEnd), .keep),
        Case("UDP", ingress(Site.a4, Site.c4, low, protocol: 17), .report(.observedEnd), .keep),
        Case("SCTP", ingress(Site.a4, Site.c4, high, protocol: 132), .refuse(.observedEnd), .drop),
        Case(
            "GRE has no ports", ingress(Site.a4, Site.c4, high, protocol: 47),
            .report(.observedEnd), .keep),
        Case("to itself, entering", ingress(Site.a4, Site.a4, high), .report(.itself), .keep),
        Case(
            "to itself, leaving", egress(Site.a4, Site.a4, high), going: .toPod, .refuse(.itself),
            .drop),
        Case(
            "to the gateway", ingress(Site.a4, Site.gateway4, high), .report(.oneEndIsNoPod), .keep),
        Case(
            "to another node's gateway", ingress(Site.a4, Site.peerGateway4, high),
            .report(.oneEndIsNoPod), .keep),
        Case("to the node", ingress(Site.a6, Site.node6, high), .report(.oneEndIsNoPod), .keep),
        Case(
            "to an uncovered address", ingress(Site.a4, Site.uncovered4, high),
            .report(.oneEndIsNoPod), .keep),
        Case(
            "to the outside", ingress(Site.a6, Site.outside6, high), .report(.oneEndIsNoPod), .keep),
        Case(
            "probe from the node", egress(Site.node4, Site.a4, high), going: .toPod,
            .report(.oneEndIsNoPod), .keep),
        Case(
            "flooded", egress(Site.c4, Site.b4, high, mac: Site.bMAC), going: .toPod,
            .refuse(.flooded), .punt),
        Case(
            "pod's second address", ingress(Site.extra4, Site.c4, high),
            .refuse(.oneEndIsNoPodElsewhere), .punt),
        Case(
            "pod's second address, to this node's pod", ingress(Site.extra4, Site.b4, low),
            .report(.observedEnd), .punt),
        Case(
            "to a pod's second address", egress(Site.c4, Site.extra4, low, mac: Site.aMAC),
            going: .toPod, .refuse(.oneEndIsNoPodElsewhere), .punt),
        Case(
            "pod's second IPv6 address", ingress(Site.extra6, Site.c6, low),
            .refuse(.oneEndIsNoPodElsewhere), .punt),
        Case(
            "link-local between pods", ingress(Site.aLinkLocal, Site.bLinkLocal, high),
            .refuse(.observedEnd), .punt),
        Case(
            "link-local to the node", ingress(Site.aLinkLocal, address("fe80::ffff"), high),
            .report(.oneEndIsNoPod), .punt),
        Case(
            "pod calls sensor", ingress(Site.a4, Site.sensor4, high), .report(.oneEndIsNoPod), .keep
        ),
        Case(
            "pod calls sensor pod", ingress(Site.a4, Site.sensorPod4, low), .report(.observedEnd),
            .keep),
        Case(
            "feed to sensor pod", egress(Site.node4, Site.sensorPod4, high), going: .toPod,
            .refuse(.ownFeed), .drop),
        Case(
            "sensor pod to its feeder", ingress(Site.sensorPod6, Site.node6, low),
            .refuse(.ownFeed), .drop),
        Case(
            "feed through a pod's edge", egress(Site.node6, Site.sensor6, high), going: .toPod,
            .refuse(.ownFeed), .drop),
        Case(
            "call to a service", ingress(Site.a4, Site.service4, high), .refuse(.serviceForm),
            .punt),
        Case(
            "reply of a service", egress(Site.service6, Site.a6, low), going: .toPod,
            .refuse(.serviceForm), .punt),
    ]

    private static let unreachable4: [UInt8] =
        [3, 3, 0, 0, 0, 0, 0, 0]
        + Frame.ip(from: Site.c4, to: Site.a4, protocol: 17, Frame.ports(40000, 53, more: 4))
    private static let unreachable6: [UInt8] =
        [1, 4, 0, 0, 0, 0, 0, 0]
        + Frame.ip(from: Site.c6, to: Site.a6, protocol: 17, Frame.ports(53, 40000, more: 4))

    static let needingMore: [Case] = [
        Case(
            "port unreachable, from the server",
            ingress(Site.a4, Site.c4, unreachable4, protocol: 1), .report(.observedEnd), .punt),
        Case(
            "port unreachable, from the client",
            ingress(Site.a6, Site.c6, unreachable6, protocol: 58), .refuse(.observedEnd), .punt),
        Case(
            "fragment", ingress(Site.a4, Site.c4, high, fragment: 0x2000), .report(.observedEnd),
            .punt),
        Case(
            "later fragment", ingress(Site.c4, Site.a4, low, fragment: 0x0010),
            .refuse(.observedEnd), .punt),
        Case(
            "fragment to the outside", ingress(Site.a4, Site.outside4, high, fragment: 0x2000),
            .report(.oneEndIsNoPod), .keep),
        Case(
            "IPv4 options", ingress(Site.a4, Site.c4, high, options: 1), .refuse(.observedEnd),
            .punt),
        Case(
            "hop-by-hop options",
            ingress(Site.a6, Site.c6, [6, 0, 1, 4, 0, 0, 0, 0] + high, protocol: 0),
            .refuse(.observedEnd), .punt),
        Case(
            "three extension headers",
            ingress(
                Site.a6, Site.c6,
                [43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0] + low,
                protocol: 0), .report(.observedEnd), .punt),
        Case(
            "broadcast enters",
            Frame.ethernet(
                to: .broadcast, from: Site.aMAC, type: 0x0806,
                Frame.arp(operation: 1, from: Site.aMAC, Site.a4, asking: Site.b4)),
            .report(.groupIngress), .punt),
        Case(
            "broadcast of a pod leaves",
            Frame.ethernet(
                to: .broadcast, from: Site.bMAC, type: 0x0806,
                Frame.arp(operation: 1, from: Site.bMAC, Site.b4, asking: Site.a4)), going: .toPod,
            .refuse(.groupFromPod), .punt),
        Case(
            "the node asks for this pod",
            Frame.ethernet(
                to: .broadcast, from: Site.bridgeMAC, type: 0x0806,
                Frame.arp(operation: 1, from: Site.bridgeMAC, Site.gateway4, asking: Site.a4)),
            going: .toPod, .report(.groupFromElsewhere), .punt),
        Case(
            "the node asks for the other pod",
            Frame.ethernet(
                to: .broadcast, from: Site.bridgeMAC, type: 0x0806,
                Frame.arp(operation: 1, from: Site.bridgeMAC, Site.gateway4, asking: Site.b4)),
            going: .toPod, .report(.groupFromElsewhere), .punt),
        Case(
            "the other pod is asked for",
            Frame.ethernet(
                to: .broadcast, from: Site.bridgeMAC, type: 0x0806,
                Frame.arp(operation: 1, from: Site.bridgeMAC, Site.gateway4, asking: Site.b4)),
            going: .toPod, atB: true, .report(.groupFromElsewhere), .punt),
        Case(
            "the node asks for nobody here",
            Frame.ethernet(
                to: .broadcast, from: Site.bridgeMAC, type: 0x0806,
                Frame.arp(operation: 1, from: Site.bridgeMAC, Site.gateway4, asking: Site.c4)),
            going: .toPod, .report(.groupFromElsewhere), .punt),
        Case(
            "a report of the bridge port's own",
            Frame.ethernet(
                to: mac("33:33:00:00:00:16"), from: Site.bDeviceMAC, type: 0x86dd,
                Frame.ip(
                    from: address("fe80::b"), to: address("ff02::16"), protocol: 58, [143, 0, 0, 0])
            ),
            going: .toPod, atB: true, .report(.groupFromDevice), .punt),
        Case(
            "neighbour solicitation from the node",
            Frame.ethernet(
                to: mac("33:33:ff:00:00:03"), from: Site.bridgeMAC, type: 0x86dd,
                Frame.ip(
                    from: Site.gateway6, to: address("ff02::1:ff00:3"), protocol: 58,
                    Frame.solicitation(asking: Site.b6))), going: .toPod, atB: true,
            .report(.groupFromElsewhere), .punt),
        Case(
            "the same at the other edge",
            Frame.ethernet(
                to: mac("33:33:ff:00:00:03"), from: Site.bridgeMAC, type: 0x86dd,
                Frame.ip(
                    from: Site.gateway6, to: address("ff02::1:ff00:3"), protocol: 58,
                    Frame.solicitation(asking: Site.b6))), going: .toPod,
            .report(.groupFromElsewhere), .punt),
        Case(
            "ARP reply enters",
            Frame.ethernet(
                to: Site.bMAC, from: Site.aMAC, type: 0x0806,
                Frame.arp(operation: 2, from: Site.aMAC, Site.a4, asking: Site.b4)),
            .report(.withoutIP), .punt),
        Case(
            "ARP reply of a pod leaves",
            Frame.ethernet(
                to: Site.aMAC, from: Site.bMAC, type: 0x0806,
                Frame.arp(operation: 2, from: Site.bMAC, Site.b4, asking: Site.a4)), going: .toPod,
            .refuse(.withoutIP), .punt),
        Case(
            "ARP reply of the node leaves",
            Frame.ethernet(
                to: Site.aMAC, from: Site.bridgeMAC, type: 0x0806,
                Frame.arp(operation: 2, from: Site.bridgeMAC, Site.gateway4, asking: Site.a4)),
            going: .toPod, .report(.withoutIP), .punt),
    ]

    /// Frames to and from MAC addresses that are not those of the pods' own interfaces.
    static let strangers: [Case] = [
        Case(
            "to a guest behind this pod", egress(Site.c4, Site.a4, high, mac: Site.guestMAC),
            going: .toPod, .report(.observedEnd), .keep),
        Case(
            "to a guest beyond what the program holds",
            egress(Site.c4, Site.a4, high, mac: Site.lateGuestMAC), going: .toPod,
            .report(.observedEnd), .punt),
        Case(
            "to a guest of the other pod", egress(Site.c4, Site.a4, high, mac: Site.guestMAC),
            going: .toPod, atB: true, .refuse(.flooded), .punt),
        Case(
            "to a machine behind another port",
            egress(Site.node4, Site.outside4, high, mac: Site.outsideMAC), going: .toPod,
            .refuse(.flooded), .punt),
        Case(
            "to nobody that is known, but to this pod's address",
            egress(Site.node4, Site.a4, high, mac: Site.strangerMAC), going: .toPod,
            .report(.oneEndIsNoPod), .punt),
        Case(
            "the same at the other edge",
            egress(Site.node4, Site.a4, high, mac: Site.strangerMAC), going: .toPod, atB: true,
            .refuse(.flooded), .punt),
        Case(
            "to nobody that is known, from the node",
            egress(Site.node4, Site.outside4, high, mac: Site.strangerMAC), going: .toPod,
            .report(.oneEndIsNoPod), .punt),
        Case(
            "to nobody that is known, from a pod",
            bridged(Site.outside4, Site.uncovered4, to: Site.strangerMAC, from: Site.bMAC),
            going: .toPod, .refuse(.flooded), .punt),
        Case(
            "neither address a pod's, entering",
            bridged(Site.outside4, address("255.255.255.255"), to: Site.aMAC, from: Site.bMAC),
            atB: true, .report(.oneEndIsNoPod), .keep),
        Case(
            "neither address a pod's, leaving",
            bridged(Site.outside4, address("255.255.255.255"), to: Site.aMAC, from: Site.bMAC),
            going: .toPod, .refuse(.noPodFromPod), .punt),
        Case(
            "no source address, from a guest of this pod back to it",
            bridged(address("0.0.0.0"), Site.a4, to: Site.aMAC, from: Site.guestMAC),
            going: .toPod, .refuse(.noPodFromPod), .punt),
        Case(
            "from the outside, by a machine behind another port",
            bridged(Site.outside4, Site.a4, to: Site.aMAC, from: Site.outsideMAC), going: .toPod,
            .report(.oneEndIsNoPod), .punt),
        Case(
            "a pod's reply that the bridge has translated to the node's address",
            bridged(Site.node4, Site.a4, to: Site.aMAC, from: Site.bMAC), going: .toPod,
            .report(.oneEndIsNoPod), .punt),
        Case(
            "from behind a VPN gateway, leaving for this node's pod",
            bridged(Site.vpn4, Site.b4, to: Site.bMAC, from: Site.bridgeMAC, low), going: .toPod,
            atB: true, .refuse(.observedEnd), .punt),
        Case(
            "from behind a VPN gateway, entering there", ingress(Site.vpn4, Site.b4, low),
            .report(.observedEnd), .punt),
        Case(
            "from behind a VPN gateway, for another node's pod", ingress(Site.vpn6, Site.c6, low),
            .refuse(.oneEndIsNoPodElsewhere), .punt),
        Case(
            "from behind a VPN gateway, leaving for a guest, whose address nobody knows",
            bridged(Site.vpn4, Site.c4, to: Site.bMAC, from: Site.aMAC, low), going: .toPod,
            atB: true, .report(.oneEndIsNoPodElsewhere), .punt),
        Case(
            "from a guest, whose address nobody knows, to behind a VPN gateway",
            ingress(Site.c4, Site.vpn4, low), .report(.oneEndIsNoPodElsewhere), .punt),
        Case(
            "broadcast of a guest behind the other pod",
            Frame.ethernet(
                to: .broadcast, from: Site.guestMAC, type: 0x0806,
                Frame.arp(
                    operation: 1, from: Site.guestMAC, Site.outside4, asking: Site.gateway4)),
            going: .toPod, atB: true, .refuse(.groupFromPod), .punt),
        Case(
            "frame of a guest behind the other pod, without IP",
            Frame.ethernet(to: Site.bMAC, from: Site.guestMAC, type: 0x88cc, [2, 7, 4, 0]),
            going: .toPod, atB: true, .refuse(.withoutIP), .punt),
    ]

    private static func bridged(
        _ from: IPAddress, _ to: IPAddress, to destination: MACAddress, from source: MACAddress,
        _ payload: [UInt8] = high
    ) -> [UInt8] {
        Frame.ethernet(
            to: destination, from: source, type: Frame.type(of: from),
            Frame.ip(from: from, to: to, protocol: 17, payload))
    }

    static let malformed: [Case] = [
        Case("nothing", [], .report(.withoutIP), .punt),
        Case("half an Ethernet header", [2, 0, 0, 0, 0, 1, 2], .report(.withoutIP), .punt),
        Case(
            "an IPv4 header cut short", [UInt8](ingress(Site.a4, Site.c4, high).prefix(33)),
            .report(.withoutIP), .punt),
        Case(
            "nothing behind the IPv4 header", [UInt8](ingress(Site.a4, Site.c4, high).prefix(34)),
            .report(.observedEnd), .punt),
        Case(
            "half the ports", [UInt8](ingress(Site.c4, Site.a4, low).prefix(37)),
            .refuse(.observedEnd), .punt),
        Case(
            "an IPv6 header cut short", [UInt8](ingress(Site.a6, Site.c6, high).prefix(53)),
            .report(.withoutIP), .punt),
        Case(
            "nothing behind the IPv6 header", [UInt8](ingress(Site.a6, Site.c6, high).prefix(54)),
            .report(.observedEnd), .punt),
        Case(
            "an IPv4 total length of 0", ingress(Site.a4, Site.c4, high, length: 0),
            .refuse(.observedEnd), .drop),
        Case(
            "an IPv4 total length before the ports", ingress(Site.a4, Site.c4, high, length: 22),
            .report(.observedEnd), .punt),
        Case(
            "claims more than it has", ingress(Site.a4, Site.c4, high, length: 1500),
            .refuse(.observedEnd), .drop),
        Case(
            "an IPv4 header of 16 bytes", ingress(Site.a4, Site.c4, high, options: -1),
            .report(.observedEnd), .punt),
        Case(
            "IPv4 by type, IPv6 by version",
            {
                var frame = ingress(Site.a4, Site.c4, high)
                frame[14] = 0x65
                return frame
            }(), .report(.withoutIP), .punt),
        Case(
            "an endless extension header chain",
            ingress(Site.a6, Site.c6, [UInt8](repeating: 0, count: 800), protocol: 0),
            .report(.observedEnd), .punt),
        Case(
            "an extension header behind the end",
            ingress(Site.a6, Site.c6, [6, 200, 0, 0, 0, 0, 0, 0], protocol: 60),
            .report(.observedEnd), .punt),
        Case(
            "an IPv6 payload length of 0", ingress(Site.a6, Site.c6, high, length: 0),
            .refuse(.observedEnd), .drop),
    ]

    static let all = unicast + needingMore + strangers + malformed + openings
}

@Suite("The rule")
struct RuleTests {
    @Test(
        "decides by address, port and direction",
        arguments: all)
    func decides(about test: Case) {
        let decision = Site.rule.decision(
            on: test.frame.wire, direction: test.direction, at: test.point)
        #expect(decision == test.decision)
    }

    @Test("is the same as a program", arguments: all)
    func program(for test: Case) {
        let program = EdgeProgram(Site.rule, at: test.point, snaplen: 262_144)
        let verdict = program.verdict(on: test.frame, direction: test.direction)
        #expect(verdict == test.verdict)
        // What the program punts, user space must not take for decided.
        let isCleared = FastPath(Site.rule).clears(
            test.frame.wire, toPod: test.direction == .toPod, at: EdgeMACs(test.point))
        if verdict == .punt { #expect(!isCleared) }
    }
}
