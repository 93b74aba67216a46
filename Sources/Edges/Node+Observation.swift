package import Addressing
package import Settings
import Netlink
package import Observation

/// What the rule wants to know of a node.
extension Node {
    /// The address plan of the rule; the sensors are added when they are known.
    package func addressPlan(_ settings: Settings) -> AddressPlan {
        AddressPlan(
            podNetworks: settings.podNetworks, serviceNetworks: settings.serviceNetworks,
            uncovered: settings.uncovered,
            nodeAddresses: nodeAddresses(podNetworks: settings.podNetworks),
            localPodAddresses: Set(edges.flatMap { $0.podAddresses ?? [] }),
            localPodMACs: Set(edges.compactMap(\.podMAC)))
    }

    /// Where to capture. The ports of one bridge share its broadcasts; a routed veth is alone.
    package var places: [Edge] {
        let domains = Dictionary(grouping: edges) { $0.link.master ?? 0 }
        var places: [Edge] = []
        for (master, members) in domains {
            let groups = master == 0 ? members.map { [$0] } : [members]
            for group in groups {
                let domain = ObservationPoint.Domain(
                    group.map { ($0.link.index, $0.podAddresses ?? []) })
                places += group.map { edge in
                    let bridgeMAC = link(edge.link.master)?.mac
                    let point = ObservationPoint(
                        interfaceIndex: edge.link.index, podMAC: edge.podMAC,
                        deviceMAC: edge.link.mac == bridgeMAC ? nil : edge.link.mac, domain: domain)
                    return Edge(
                        incarnation: edge.incarnation, name: edge.link.name, isUp: edge.link.isUp, point: point)
                }
            }
        }
        return places.sorted { $0.point.interfaceIndex < $1.point.interfaceIndex }
    }
}

extension Node {
    /// The node's own addresses that lie in a pod network, and of which nobody has said that no agent
    /// covers them.
    package func exposedAddresses(_ settings: Settings) -> [IPAddress] {
        uplinkAddresses.map(\.address).filter { address in
            settings.podNetworks.contains { $0.contains(address) }
                && !settings.uncovered.contains { $0.contains(address) }
        }
    }
}
