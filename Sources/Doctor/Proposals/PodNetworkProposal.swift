package import Addressing
import Formats

/// The pod networks that what is seen on one node speaks for.
///
/// They are the smallest that cover what is seen. They are widened to the sizes that clusters have only
/// where routes lead to other nodes' pods: one node alone does not tell how large its cluster's is. A
/// foreign network in them would be taken for pods by every agent, so what is in doubt is left out.
package struct PodNetworkProposal: Equatable, Sendable {
    /// What is seen on a node.
    package struct Evidence: Equatable, Sendable {
        /// The addresses of this node's pods, by pod.
        package var pods: [[IPAddress]] = []
        /// The networks of this node's pods, by its routes.
        package var ownNetworks: [IPNetwork] = []
        /// Where this node's routes through gateways and tunnels lead, which other nodes' pods may be.
        package var otherNetworks: [IPNetwork] = []
        /// Where routes through a tunnel of the network plug-in lead: to other nodes' pods.
        package var tunnelNetworks: [IPNetwork] = []
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
    /// Whether routes to other nodes show how large the networks of each family are.
    package let isOfCluster: Bool

    /// What is near: the sizes of networks, in bits of the prefix, of one family.
    private struct Sizes {
        /// The bits that the networks of a cluster's pods share at least.
        let shared: Int
        /// The narrowest, where no route says how large the node's own is.
        let narrowest: Int
        /// What installers make, from the narrowest on.
        let usual: [Int]

        init(_ family: IPAddress.Family) {
            switch family {
            case .ipv4: (shared, narrowest, usual) = (16, 24, [16])
            case .ipv6: (shared, narrowest, usual) = (48, 64, [56, 48])
            }
        }
    }

    /// The most networks that are listed where they do not make one.
    ///
    /// A text with more is not read.
    private static let listedCountMax = 16

    /// Proposes networks; none where nothing is seen.
    package init(_ evidence: Evidence) {
        let found = IPAddress.Family.allCases.map { Self.networks(evidence, of: $0) }
        let networks = found.flatMap(\.networks)
        self.networks = networks
        podCount = evidence.pods.count { addresses in
            addresses.contains { address in networks.contains { $0.contains(address) } }
        }
        let covered = found.map { family in
            family.others.count { other in
                family.networks.contains { $0.contains(other.address) }
            }
        }
        otherCount = covered.reduce(0, +)
        isOfCluster = zip(found, covered).allSatisfy { $0.networks.isEmpty || $1 > 0 }
    }

    /// Whether two networks share the bits that those of one cluster's pods have in common.
    static func isNear(_ one: IPNetwork, _ other: IPNetwork) -> Bool {
        one.family == other.family
            && NetworkGroup.common(one, other).prefixBitCount >= Sizes(one.family).shared
    }

    private static func networks(
        _ evidence: Evidence, of family: IPAddress.Family
    ) -> (networks: [IPNetwork], others: Set<IPNetwork>) {
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
        guard !seen.isEmpty else { return ([], []) }
        // Pods may have addresses of the node's own network, as some clouds give them.
        let taken = evidence.taken.filter(isOfFamily).filter { network in
            !seen.contains { $0.overlaps(network) }
        }
        // A gateway leads to other networks as well; a cluster's nodes have pod networks of one size,
        // which is the usual one where each pod has a route of its own.
        let sized = seen.map { network in
            network.prefixBitCount < family.bitCount
                ? network : IPNetwork(network.address, prefixBitCount: sizes.narrowest)
        }
        let alike = evidence.otherNetworks.filter { other in
            sized.contains {
                $0.prefixBitCount == other.prefixBitCount && isNear($0, other)
            }
        }
        let tunnelled = evidence.tunnelNetworks.filter { other in
            seen.contains { isNear($0, other) }
        }
        let others = Set(alike + tunnelled).filter { other in
            !taken.contains(where: other.overlaps)
        }
        let networks = NetworkGroup.groups(seen + others, sharing: sizes.shared, besides: taken)
            .flatMap { group -> [IPNetwork] in
                let lengths = Set(group.members.map(\.prefixBitCount))
                    .subtracting([family.bitCount])
                guard lengths.count > 1 else {
                    let hasOthers = group.members.contains(where: others.contains)
                    return [widened(group.common, hasOthers: hasOthers, sizes, taken)]
                }
                return listed(group.members, seen, sizes, taken)
            }
        return (networks, others)
    }

    /// Networks of various sizes, which no installer makes of one, each without those inside it.
    private static func listed(
        _ members: [IPNetwork], _ seen: [IPNetwork], _ sizes: Sizes, _ taken: [IPNetwork]
    ) -> [IPNetwork] {
        let hosts = members.filter { $0.prefixBitCount == $0.family.bitCount }
        let near = NetworkGroup.groups(hosts, sharing: sizes.narrowest, besides: taken).map {
            widened($0.common, hasOthers: false, sizes, taken)
        }
        let all = Set(members).subtracting(hosts).union(near)
        let outermost = all.filter { network in
            !all.contains {
                $0.prefixBitCount < network.prefixBitCount && $0.contains(network.address)
            }
        }.sorted { $0.address < $1.address }
        guard outermost.count > listedCountMax else { return outermost }
        return outermost.filter { network in seen.contains { network.contains($0.address) } }
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
