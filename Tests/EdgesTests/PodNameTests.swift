import Addressing
import Edges
import Netlink
import ObservationFixtures
import Settings
import Testing

@Suite("A pod's name")
struct PodNameTests {
    private static func table(namespace: Int32 = 1) -> EdgeTable {
        var table = EdgeTable()
        table.apply(.link(link(namespace: namespace)))
        return table
    }

    private static func link(namespace: Int32) -> Link {
        var link = Link(index: 7)
        link.name = "veth7"
        link.kind = "veth"
        link.peerIndex = 2
        link.peerNamespace = namespace
        link.isUp = true
        return link
    }

    private static func edge(_ table: EdgeTable) -> Veth? {
        table.node(EdgeSelection()).capturedVeths.first
    }

    @Test("stays with its edge, until another pod is behind that")
    func incarnation() throws {
        var table = Self.table()
        let name = try #require(PodName(namespace: "shop", name: "web-1"))
        let incarnation = try #require(Self.edge(table)).incarnation
        #expect(Self.edge(table)?.pod == nil)
        table.set([incarnation: name])
        #expect(Self.edge(table)?.pod?.description == "shop/web-1")
        table.apply(.link(Self.link(namespace: 1)))
        #expect(Self.edge(table)?.pod == name)
        table.set([incarnation + 1: name])
        table.apply(.link(Self.link(namespace: 2)))
        #expect(Self.edge(table)?.pod == nil)
        table.apply(.linkGone(7))
        table.apply(.link(Self.link(namespace: 1)))
        table.set([incarnation: name])
        #expect(Self.edge(table)?.pod == nil)
    }

    @Test("is known to those who ask, and no reason for captures to do anything")
    func feed() throws {
        var table = Self.table()
        let selection = EdgeSelection(podNetworks: [network("10.244.0.0/16")])
        let feed = NodePublisher(
            RuleSettings(podNetworks: selection.podNetworks), node: table.node(selection))
        let before = feed.snapshot
        let incarnation = try #require(Self.edge(table)).incarnation
        table.set([incarnation: try #require(PodName(namespace: "shop", name: "web-1"))])
        feed.publish(table.node(selection))
        #expect(feed.node.capturedVeths.first?.pod?.name == "web-1")
        #expect(feed.snapshot.version == before.version)
        table.apply(.linkGone(7))
        feed.publish(table.node(selection))
        #expect(feed.snapshot.version > before.version)
    }

    @Test(
        "is only what Kubernetes allows",
        arguments: [
            ("shop", "web-1", true), ("a", "b.c", true), ("", "web", false), ("shop", "", false),
            ("shop", "Web", false), ("shop", "web/1", false), ("sh.op", "web", false),
            ("shop", "web\n", false), ("shop", "wéb", false),
            ("shop", String(repeating: "w", count: 253), true),
            ("shop", String(repeating: "w", count: 254), false),
            (String(repeating: "s", count: 64), "web", false),
        ])
    func names(namespace: String, name: String, isName: Bool) {
        #expect((PodName(namespace: namespace, name: name) != nil) == isName)
    }
}
