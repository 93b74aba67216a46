package import Addressing
package import Netlink
package import Observation

/// The node as the rule needs it.
extension Node {
    /// The address plan of the rule, without the sensors' addresses.
    package func addressPlan(_ settings: RuleSettings) -> AddressPlan {
        AddressPlan(
            podNetworks: settings.podNetworks, serviceNetworks: settings.serviceNetworks,
            uncovered: settings.uncovered,
            nodeAddresses: nodeAddresses(podNetworks: settings.podNetworks),
            localPodAddresses: Set(capturedVeths.flatMap(\.addresses))
                .subtracting(addresses.map(\.address)),
            localPodNetworks: localPodNetworks(settings.podNetworks), macs: macs)
    }

    /// The address plan of another node's agent, as far as this node can tell.
    ///
    /// The other agent knows neither this node's pods nor the networks behind them. It takes an address
    /// in the pod networks for a pod's, unless one of its routes has it as a gateway. Such routes lead
    /// to the interfaces through which this node's own routes to other nodes' pods lead.
    package func addressPlanElsewhere(_ settings: RuleSettings) -> AddressPlan {
        let own = Set(addresses.map(\.address))
        let gateways = nodeAddresses(podNetworks: settings.podNetworks).subtracting(own)
        let interfaces = Set(
            routes.filter { $0.gateway.map(gateways.contains) ?? false }
                .compactMap(\.interfaceIndex))
        let ends = addresses.filter { interfaces.contains($0.interfaceIndex) }.map(\.address)
        return AddressPlan(
            podNetworks: settings.podNetworks, serviceNetworks: settings.serviceNetworks,
            uncovered: settings.uncovered, nodeAddresses: gateways.union(ends))
    }

    /// The networks behind pods that are not in a pod network anyway.
    private func localPodNetworks(_ podNetworks: [IPNetwork]) -> [IPNetwork] {
        let outside = networksBehindPods.map(\.network).filter { network in
            !podNetworks.contains {
                $0.contains(network.address) && $0.prefixBitCount <= network.prefixBitCount
            }
        }
        return Array(outside.prefix(Self.networkBehindPodCountMax))
    }

    /// The edges to capture at, in the order of their indexes.
    ///
    /// The ports of one bridge share its broadcasts. A routed veth is alone in its domain.
    package var edges: [Edge] {
        let groups = Dictionary(grouping: capturedVeths) { $0.link.master }
        let sharedBridges = Set(portsOfOthers().map(\.bridge.index))
        let domains = groups.flatMap { master, veths in
            master == nil ? veths.map { [$0] } : [veths]
        }
        return domains.flatMap { edges(ofDomain: $0, sharedBridges) }.sorted {
            $0.point.interfaceIndex < $1.point.interfaceIndex
        }
    }

    /// The ports of the pods' bridges through which other nodes' pods may send, with their bridges.
    ///
    /// A veth that is left out by its name may be an uplink. A virtual machine's device is none.
    package func portsOfOthers(isExcludedOne: Bool = true) -> [(port: Link, bridge: Link)] {
        let bridges = Set(capturedVeths.compactMap(\.link.master))
        guard !bridges.isEmpty else { return [] }
        let status = Dictionary(uniqueKeysWithValues: veths.map { ($0.link.index, $0.status) })
        return links.values.compactMap { port in
            guard let master = port.master, bridges.contains(master), let bridge = link(master),
                bridge.kind != "vrf"
            else { return nil }
            let isOne =
                switch status[port.index] {
                case .captured, .peerIsGone, .outsidePodNetworks, .needsPodTap, .namespaceGone:
                    false
                case .excluded: isExcludedOne
                case .peerIsHere, .uplink: true
                case nil: port.kind != "tun" && port.kind != "dummy"
                }
            return isOne ? (port, bridge) : nil
        }.sorted { $0.port.index < $1.port.index }
    }

    /// The pods' addresses at the edges to capture at, which are up.
    package var localEdges: LocalEdges {
        LocalEdges(capturedVeths.filter(\.link.isUp).map { ($0.link.index, $0.addresses) })
    }

    private func edges(ofDomain veths: [Veth], _ sharedBridges: Set<UInt32>) -> [Edge] {
        let domain = ObservationPoint.Domain(
            veths.map { ($0.link.index, $0.otherAddresses) }
                + veths.map { ($0.link.index, $0.podAddresses ?? []) })
        return veths.map { veth in
            let master = link(veth.link.master)
            // A VRF forwards by routes, and floods nothing.
            let bridge = master?.kind == "vrf" ? nil : veth.link.master
            let point = ObservationPoint(
                interfaceIndex: veth.link.index, podMAC: veth.podMAC,
                otherMACs: veth.macs.filter { $0 != veth.podMAC },
                deviceMAC: veth.link.mac == master?.mac ? nil : veth.link.mac?.ofInterface,
                bridge: bridge, bridgeMAC: master?.kind == "bridge" ? master?.mac : nil,
                // What is made on an interface of the node shares it with other nodes.
                hasOtherPorts: bridge.map { sharedBridges.contains($0) || veth.isPodInterface }
                    ?? false, domain: domain)
            return Edge(
                incarnation: veth.incarnation, name: veth.link.name, isUp: veth.link.isUp,
                frameByteCountMax: veth.frameByteCountMax, point: point, tap: veth.tap)
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
