package import Addressing
import Netlink
package import Observation

/// The node as the rule needs it.
extension Node {
    /// The address plan of the rule, without the sensors' addresses.
    package func addressPlan(_ settings: RuleSettings) -> AddressPlan {
        AddressPlan(
            podNetworks: settings.podNetworks, serviceNetworks: settings.serviceNetworks,
            uncovered: settings.uncovered,
            nodeAddresses: nodeAddresses(podNetworks: settings.podNetworks),
            localPodAddresses: Set(capturedVeths.flatMap { $0.podAddresses ?? [] }),
            localPodMACs: Set(capturedVeths.compactMap(\.podMAC)))
    }

    /// The edges to capture at, in the order of their indexes.
    ///
    /// The ports of one bridge share its broadcasts. A routed veth is alone in its domain.
    package var edges: [Edge] {
        let groups = Dictionary(grouping: capturedVeths) { $0.link.master }
        let domains = groups.flatMap { master, veths in
            master == nil ? veths.map { [$0] } : [veths]
        }
        return domains.flatMap(edges(ofDomain:)).sorted {
            $0.point.interfaceIndex < $1.point.interfaceIndex
        }
    }

    /// The pods' addresses at the edges to capture at, which are up.
    package var localEdges: LocalEdges {
        LocalEdges(
            capturedVeths.filter(\.link.isUp).map { ($0.link.index, $0.podAddresses ?? []) })
    }

    private func edges(ofDomain veths: [Veth]) -> [Edge] {
        let domain = ObservationPoint.Domain(
            veths.map { ($0.link.index, $0.podAddresses ?? []) })
        return veths.map { veth in
            let bridgeMAC = link(veth.link.master)?.mac
            let point = ObservationPoint(
                interfaceIndex: veth.link.index, podMAC: veth.podMAC,
                deviceMAC: veth.link.mac == bridgeMAC ? nil : veth.link.mac, domain: domain)
            return Edge(
                incarnation: veth.incarnation, name: veth.link.name, isUp: veth.link.isUp,
                frameByteCountMax: veth.frameByteCountMax, point: point)
        }
    }

    /// The node's own addresses inside a pod network, without those that are set as uncovered.
    ///
    /// Agents of other nodes take such an address for a pod's.
    package func exposedAddresses(_ settings: RuleSettings) -> [IPAddress] {
        uplinkAddresses.map(\.address).filter { address in
            settings.podNetworks.contains { $0.contains(address) }
                && !settings.uncovered.contains { $0.contains(address) }
        }
    }
}
