import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing

/// Link-local addresses belong to a link: pods and gateways of several links may have the same.
@Suite("Link-local addresses")
struct LinkLocalTests {
    /// Another pod on a routed veth, whose gateway has the address of pod b on its own link.
    private static let atRouted = ObservationPoint(
        interfaceIndex: 13, podMAC: Site.aMAC,
        domain: ObservationPoint.Domain([(interfaceIndex: 13, addresses: [Site.aLinkLocal])]))

    private static func decision(
        _ direction: Direction, to destination: MACAddress = Site.aMAC, ports: (UInt16, UInt16),
        at point: ObservationPoint
    ) -> Decision {
        let (source, target) =
            direction == .fromPod
            ? (Site.aLinkLocal, Site.bLinkLocal) : (Site.bLinkLocal, Site.aLinkLocal)
        let frame = Frame.ethernet(
            to: destination, from: Site.bMAC, type: EtherType.ipv6,
            Frame.ip(from: source, to: target, protocol: 17, Frame.ports(ports.0, ports.1)))
        return Site.rule.decision(on: frame.wire, direction: direction, at: point)
    }

    @Test("are a gateway's where no pod of the link has them")
    func gateway() {
        for direction in Direction.allCases {
            for ports in [(53, 45_000), (45_000, 53)] as [(UInt16, UInt16)] {
                let decision = Self.decision(direction, ports: ports, at: Self.atRouted)
                #expect(decision == .report(.oneEndIsNoPod))
            }
        }
        let group = mac("33:33:00:00:00:01")
        let decision = Self.decision(.toPod, to: group, ports: (1, 2), at: Self.atRouted)
        #expect(decision == .report(.groupFromElsewhere))
    }

    @Test("are a pod's on its own bridge")
    func pod() {
        #expect(
            Self.decision(.toPod, ports: (45_000, 53), at: Site.atA) == .report(.observedEnd))
        #expect(
            Self.decision(.toPod, ports: (53, 45_000), at: Site.atA) == .refuse(.observedEnd))
    }

    @Test("say of a request's sender nothing if two edges have them")
    func requests() {
        let shared = address("fe80::1")
        let edges = LocalEdges([
            (interfaceIndex: 11, addresses: [Site.a6, shared]),
            (interfaceIndex: 12, addresses: [Site.b6, shared, Site.bLinkLocal]),
        ])
        #expect(!edges.contains(shared))
        #expect(!edges.isForeign(shared, atEdge: 11) && !edges.isForeign(shared, atEdge: 12))
        #expect(edges.contains(Site.bLinkLocal) && edges.isForeign(Site.bLinkLocal, atEdge: 11))
    }
}
