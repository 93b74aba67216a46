import Addressing
import Observation
import ObservationFixtures
import Testing

@Suite("The pods' addresses at the edges of a capture")
struct LocalEdgesTests {
    private static let edges = LocalEdges([
        (interfaceIndex: 11, addresses: [Site.a4, Site.a6, Site.aLinkLocal]),
        (interfaceIndex: 12, addresses: [Site.b4, Site.bLinkLocal]),
        (interfaceIndex: 13, addresses: []),
    ])

    @Test("are those of these edges, and no others")
    func contains() {
        for address in [Site.a4, Site.a6, Site.aLinkLocal, Site.b4, Site.bLinkLocal] {
            #expect(Self.edges.contains(address))
        }
        for address in [Site.c4, Site.b6, Site.gateway4] { #expect(!Self.edges.contains(address)) }
        #expect(!LocalEdges().contains(Site.a4))
    }

    @Test("tell a forged source, unless too little is known of the pod")
    func foreign() {
        let rows: [(IPAddress, edge: UInt32, isForeign: Bool)] = [
            (Site.a4, 11, false), (Site.a6, 11, false), (Site.aLinkLocal, 11, false),
            (Site.b4, 11, true), (Site.c4, 11, true), (Site.c6, 11, true),
            // No address of IPv6 but a link-local one is known of b.
            (Site.c4, 12, true), (Site.b6, 12, false), (Site.c6, 12, false), (Site.a6, 12, true),
            (Site.c4, 13, false), (Site.c6, 13, false), (Site.a4, 13, true),
            (Site.c4, 99, false), (Site.a4, 99, true),
        ]
        for row in rows {
            #expect(Self.edges.isForeign(row.0, atEdge: row.edge) == row.isForeign, "\(row)")
        }
        #expect(!LocalEdges().isForeign(Site.a4, atEdge: 11))
    }

    @Test("tell another pod's address from one that nobody is known to have")
    func elsewhere() {
        let rows: [(IPAddress, edge: UInt32, isElsewhere: Bool)] = [
            (Site.a4, 11, false), (Site.a4, 12, true), (Site.a4, 13, true), (Site.b4, 11, true),
            // A guest behind the pod may have it.
            (Site.c4, 11, false), (Site.c6, 12, false), (Site.c4, 99, false),
        ]
        for row in rows {
            #expect(Self.edges.isElsewhere(row.0, thanEdge: row.edge) == row.isElsewhere, "\(row)")
        }
    }
}
