import Addressing
import Doctor
import Edges
import Netlink
import Settings
import Testing

/// A node with one pod, 10.244.1.2 at the edge `v6`.
enum ExaminedNode {
    /// Examines it.
    ///
    /// - Parameters:
    ///   - routes: The node's routes.
    ///   - others: More addresses of the pod.
    /// - Returns: What was found out of the node.
    /// - Throws: If the settings cannot be understood.
    static func examination(
        routes: [Route] = [], others: [String] = []
    ) throws -> Examination {
        let environment = [
            "PODNET": "10.244.0.0/16", "SVCNET": "10.96.0.0/12", "EXTRAHOP_SENSOR_IP": "192.0.2.1",
        ]
        var examination = Examination(ExaminedSettings(options: [:]) { environment[$0] })
        var table = EdgeTable()
        var link = Link(index: 6)
        (link.name, link.kind, link.peerIndex, link.peerNamespace) = ("v6", "veth", 2, 1)
        table.apply(.link(link))
        let pod = try #require(IPAddress("10.244.1.2"))
        let otherAddresses = others.compactMap { IPAddress($0) }
        table.set(
            EdgeTable.Pod(addresses: [pod], mac: nil, otherAddresses: otherAddresses), behind: 6)
        table.reset(addresses: [], routes: routes)
        examination.node = table.node(examination.settings.edges)
        return examination
    }
}
