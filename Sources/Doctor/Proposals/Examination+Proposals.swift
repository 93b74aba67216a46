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
        return ServiceNetworkProposal(serviceAddresses, besides: pods)
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
        let local = routes.filter { $0.gateway.map(own.contains) ?? true }
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
            return Self.tunnelKinds.contains(link(route.interfaceIndex)?.kind ?? "")
        }.map(\.destination)
        evidence.taken = uplinkAddresses.map(\.network)
        return evidence
    }
}
