package import Addressing
import Formats

/// The pod networks that what is seen on one node speaks for.
///
/// They are the smallest that cover what is seen. They are widened to the sizes that clusters have only
/// where routes lead to other nodes' pods: one node alone does not tell how large its cluster's is.
package struct PodNetworkProposal: Equatable, Sendable {
    /// What is seen on a node.
    package struct Evidence: Equatable, Sendable {
        /// The addresses of this node's pods, by pod.
        package var pods: [[IPAddress]] = []
        /// The networks of this node's pods, by its routes.
        package var ownNetworks: [IPNetwork] = []
        /// The networks of other nodes' pods, by this node's routes.
        package var otherNetworks: [IPNetwork] = []
        /// Networks that are no pods', such as the node's own and services' addresses.
        package var taken: [IPNetwork] = []

        /// Nothing is seen yet.
        package init() {}
    }

    /// The networks, each once.
    package let networks: [IPNetwork]
    /// The number of this node's pods that have an address in them.
    package let podCount: Int
    /// The number of other nodes' networks that they cover.
    package let otherCount: Int

    /// What is near: the sizes of networks, in bits of the prefix, of one family.
    private struct Sizes {
        /// The widest network that is proposed.
        let widest: Int
        /// The narrowest, where no route says how large the node's own is.
        let narrowest: Int
        /// What installers make, from the narrowest on.
        let usual: [Int]

        init(_ family: IPAddress.Family) {
            switch family {
            case .ipv4: (widest, narrowest, usual) = (12, 24, [16, 14, 12])
            case .ipv6: (widest, narrowest, usual) = (48, 64, [56, 48])
            }
        }
    }

    /// Proposes networks; none where nothing is seen.
    package init(_ evidence: Evidence) {
        let networks = IPAddress.Family.allCases.flatMap { family in
            Self.networks(evidence, of: family)
        }
        self.networks = networks
        podCount = evidence.pods.count { addresses in
            addresses.contains { address in networks.contains { $0.contains(address) } }
        }
        otherCount = Set(evidence.otherNetworks).count { other in
            networks.contains { $0.contains(other.address) }
        }
    }

    private static func networks(
        _ evidence: Evidence, of family: IPAddress.Family
    ) -> [IPNetwork] {
        let sizes = Sizes(family)
        let isOfFamily = { (network: IPNetwork) in network.family == family }
        let addresses = evidence.pods.joined().filter { $0.family == family }
        let own = evidence.ownNetworks.filter(isOfFamily)
        // What is in none of the networks that routes tell has one of its own.
        let seen =
            own
            + addresses.filter { address in !own.contains { $0.contains(address) } }.map {
                IPNetwork($0, prefixBitCount: family.bitCount)
            }
        guard !seen.isEmpty else { return [] }
        // Pods may have addresses of the node's own network, as some clouds give them.
        let taken = evidence.taken.filter(isOfFamily).filter { network in
            !seen.contains { $0.overlaps(network) }
        }
        let others = evidence.otherNetworks.filter(isOfFamily).filter { other in
            other.prefixBitCount >= sizes.widest && !taken.contains(where: other.overlaps)
                && seen.contains { near in
                    NetworkGroup.common(near, other).prefixBitCount >= sizes.widest
                }
        }
        return NetworkGroup.groups(seen + others, sharing: sizes.widest, besides: taken).map {
            widened($0.common, hasOthers: $0.members.contains(where: others.contains), sizes, taken)
        }
    }

    private static func widened(
        _ network: IPNetwork, hasOthers: Bool, _ sizes: Sizes, _ taken: [IPNetwork]
    ) -> IPNetwork {
        let bitCounts = hasOthers ? sizes.usual : [sizes.narrowest]
        return bitCounts.filter { $0 <= network.prefixBitCount }.map {
            IPNetwork(network.address, prefixBitCount: $0)
        }.first { wide in !taken.contains(where: wide.overlaps) } ?? network
    }

    /// The networks as a setting's value.
    package var value: String { networks.map(\.description).joined(separator: ",") }

    /// What they are proposed for: `"it covers 14 pods of this node and 3 routes to other nodes"`.
    package var reason: String {
        let pods =
            podCount > 0 ? "\(Wording.count(podCount, "pod")) of this node" : "this node's routes"
        guard otherCount > 0 else {
            return """
                it covers \(pods); no route shows other nodes' networks, so the cluster's may be wider
                """
        }
        return "it covers \(pods) and \(Wording.count(otherCount, "route")) to other nodes"
    }
}
