import Addressing
package import Edges
import Netlink
import Settings

/// What a node speaks for where networks are not given.
extension Examination {
    /// The pod networks that this node speaks for; nil if it cannot be read.
    package var podNetworkProposal: PodNetworkProposal? {
        node.map { network in
            var evidence = network.podNetworkEvidence
            evidence.taken += settings.serviceNetworks
            evidence.taken += serviceAddresses.map {
                IPNetwork($0, prefixBitCount: $0.family.bitCount)
            }
            return PodNetworkProposal(evidence)
        }
    }

    /// The service networks that this node speaks for.
    package var serviceNetworkProposal: ServiceNetworkProposal {
        let pods =
            settings.podNetworks.isEmpty
            ? podNetworkProposal?.networks ?? [] : settings.podNetworks
        let addresses = serviceAddresses
        return ServiceNetworkProposal(addresses, besides: pods + networksWithout(addresses))
    }

    /// The networks of this node and those that it has routes to, which are no services'.
    ///
    /// Networks that contain one of the services' addresses are left out: such a route goes by way of a
    /// wider network, or of the services themselves.
    func networksWithout(_ services: [IPAddress]) -> [IPNetwork] {
        guard let node else { return [] }
        let evidence = node.podNetworkEvidence
        // An address without a network may be a service's, as with IPVS and the nodes' DNS cache.
        let own = node.addresses.map(\.network).filter {
            $0.prefixBitCount < $0.family.bitCount
        }
        let gateways = node.routes.compactMap(\.gateway).map {
            IPNetwork($0, prefixBitCount: $0.family.bitCount)
        }
        let all =
            own + gateways + evidence.ownNetworks + evidence.otherNetworks
            + evidence.tunnelNetworks
        return Set(all).filter { network in !services.contains(where: network.contains) }
            .sorted { $0.address < $1.address }
    }

    /// The settings that the rule is made from, with the likely pod networks where none are given.
    var likelyRuleSettings: RuleSettings {
        guard settings.podNetworks.isEmpty, let proposal = podNetworkProposal else {
            return ruleSettings
        }
        return RuleSettings(settings.with(podNetworks: proposal.networks))
    }

    /// The addresses that are probably services', as pods and the node call them, in order.
    ///
    /// A load balancer's address and the node's own are none.
    var serviceAddresses: [IPAddress] {
        let own = Set((node?.addresses ?? []).map(\.address))
        let uplinks = (node?.uplinkAddresses ?? []).map(\.network)
        let pods = Set((node?.addressedPods ?? []).flatMap(\.addresses))
        let called = (translatedFlows ?? []).filter {
            $0.original.destination != $0.reply.source
        }.map(\.original.destination)
        return Set(called + [kubernetesService].compactMap(\.self)).filter { address in
            ServiceNetworkProposal.isPlausible(address) && !own.contains(address)
                && !pods.contains(address) && !uplinks.contains { $0.contains(address) }
        }.sorted()
    }
}

extension InterfaceAddress {
    /// The network of the address.
    fileprivate var network: IPNetwork { IPNetwork(address, prefixBitCount: prefixBitCount) }
}

extension Node {
    /// The kinds of interfaces that lead to other nodes without a gateway.
    private static let tunnelKinds: Set<String> = [
        "vxlan", "geneve", "wireguard", "ipip", "sit", "ip6tnl", "gre", "ip6gre",
    ]

    /// What the pods' addresses and the routes say about pod networks.
    package var podNetworkEvidence: PodNetworkProposal.Evidence {
        var evidence = PodNetworkProposal.Evidence()
        let pods = addressedPods.map(\.addresses)
        evidence.pods = pods
        let own = Set(addresses.map(\.address))
        let inside = Set(
            capturedVeths.flatMap { [$0.link.index, $0.link.master].compactMap(\.self) })
        let routes = routes.filter { !$0.isDefault && !$0.destination.address.isLinkLocalIPv6 }
        // A route through an address of the node itself is one to its own pods.
        let local = routes.filter { route in
            (route.gateway.map(own.contains) ?? true) && !isTunnel(route)
        }
        let ofInterfaces = local.filter { $0.interfaceIndex.map(inside.contains) ?? false }
        let ofPods = pods.joined().compactMap { address in
            local.filter { $0.destination.contains(address) }.max {
                $0.destination.prefixBitCount < $1.destination.prefixBitCount
            }
        }
        evidence.ownNetworks = Set((ofInterfaces + ofPods).map(\.destination)).sorted {
            $0.address < $1.address
        }
        let behindPods = Set(networksBehindPods.map(\.network))
        let defaults = Set(self.routes.filter(\.isDefault).compactMap(\.gateway))
        evidence.otherNetworks = routes.filter { route in
            guard !behindPods.contains(route.destination) else { return false }
            if let gateway = route.gateway {
                return !defaults.contains(gateway) && !own.contains(gateway)
            }
            return isTunnel(route)
        }.map(\.destination)
        let tunnels = podTunnels(among: evidence.ownNetworks, pods.flatMap(\.self))
        evidence.tunnelNetworks = routes.filter { route in
            isTunnel(route) && route.interfaceIndex.map(tunnels.contains) == true
                && !behindPods.contains(route.destination)
        }.map(\.destination)
        evidence.taken = uplinkAddresses.map(\.network)
        return evidence
    }

    private func isTunnel(_ route: Route) -> Bool {
        Self.tunnelKinds.contains(link(route.interfaceIndex)?.kind ?? "")
    }

    /// The interfaces that have one address of this node's pod network, as plug-ins give their tunnels.
    ///
    /// A network of another purpose, such as a VPN, has addresses of its own.
    private func podTunnels(among networks: [IPNetwork], _ pods: [IPAddress]) -> Set<UInt32> {
        let indexes = addresses.filter { own in
            guard own.prefixBitCount == own.address.family.bitCount else { return false }
            let wide = networks.filter {
                $0.family == own.address.family && $0.prefixBitCount < $0.family.bitCount
            }
            guard wide.isEmpty else { return wide.contains { $0.contains(own.address) } }
            // Where each pod has a route of its own, the tunnel's address is one of a block like theirs.
            return pods.contains { pod in
                PodNetworkProposal.isNear(
                    IPNetwork(pod, prefixBitCount: pod.family.bitCount), own.network)
            }
        }.map(\.interfaceIndex)
        return Set(indexes)
    }
}
