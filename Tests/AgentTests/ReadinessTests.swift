import Addressing
import Agent
import Edges
import Netlink
import Settings
import Testing

@Suite("Pod networks that are not those of the pods")
struct ReadinessTests {
    private static let addresses = ["10.244.1.2", "fe80::1"]

    /// A node with one pod.
    private func node(_ selection: EdgeSelection) throws -> Node {
        var table = EdgeTable()
        var link = Link(index: 6)
        (link.name, link.kind) = ("v6", "veth")
        (link.peerIndex, link.peerNamespace) = (2, 6)
        table.apply(.link(link))
        let known = try Self.addresses.map { try #require(IPAddress($0)) }
        table.set(EdgeTable.Pod(addresses: known, mac: nil), behind: 6)
        return table.node(selection)
    }

    @Test("keep an agent from being ready, unless settings have the pods captured")
    func readiness() throws {
        let settings = try Settings(options: [:]) {
            ["PODNET": "10.99.0.0/16", "EXTRAHOP_SENSOR_IP": "192.0.2.1"][$0]
        }
        let status = AgentStatus(settings)
        let reason = "the one pod here does not have an address in PODNET 10.99.0.0/16"
        for (selection, isReason) in [
            (settings.edges, true), (EdgeSelection(.all, podNetworks: settings.podNetworks), false),
        ] {
            let node = try node(selection)
            let health = Health.readiness(
                of: status, PodNetworkMismatch(node, settings.podNetworks))
            #expect(!health.isGood && health.text.contains("no sensor captures"))
            #expect(health.text.contains(reason) == isReason)
        }
    }
}
