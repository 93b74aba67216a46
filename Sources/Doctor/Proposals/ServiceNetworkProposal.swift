package import Addressing
import Formats

/// The service networks that some addresses of services speak for.
package struct ServiceNetworkProposal: Equatable, Sendable {
    /// The networks, each once.
    package let networks: [IPNetwork]

    /// The most networks of a family.
    ///
    /// A cluster has one or two. Calls of many addresses through the node do not make the text long.
    private static let networkCountMax = 8

    /// The defaults of installers: MicroK8s, GKE, k3s, EKS (two), OpenShift, AKS and kubeadm.
    ///
    /// They go from narrow to wide, since the narrow one takes in the least of others' networks.
    private static let usual = [
        "10.152.183.0/24", "34.118.224.0/20", "10.43.0.0/16", "10.100.0.0/16", "172.20.0.0/16",
        "172.30.0.0/16", "10.0.0.0/16", "10.96.0.0/12",
    ].compactMap { IPNetwork($0) }

    private static let privateNetworks = [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
    ].compactMap { IPNetwork($0) }

    /// The networks that addresses are probably in.
    ///
    /// They are usual ones, or else what addresses that are near each other have in common, with some
    /// room.
    ///
    /// - Parameters:
    ///   - addresses: The addresses.
    ///   - taken: The networks of pods and nodes, into which none of these reaches.
    package init(_ addresses: [IPAddress], besides taken: [IPNetwork]) {
        networks = IPAddress.Family.allCases.flatMap { family in
            Self.networks(
                addresses.filter { $0.family == family }.sorted(), of: family, taken)
        }
    }

    private static func networks(
        _ addresses: [IPAddress], of family: IPAddress.Family, _ taken: [IPNetwork]
    ) -> [IPNetwork] {
        let isFree = { (network: IPNetwork) in !taken.contains(where: network.overlaps) }
        var found: [IPNetwork] = []
        var rest: [IPNetwork] = []
        for address in addresses where !found.contains(where: { $0.contains(address) }) {
            if let network = usual.first(where: { $0.contains(address) && isFree($0) }) {
                found.removeAll(where: network.overlaps)
                found.append(network)
            } else {
                rest.append(IPNetwork(address, prefixBitCount: family.bitCount))
            }
        }
        let (near, narrowest) = family == .ipv4 ? (16, 24) : (64, 112)
        let groups = NetworkGroup.groups(rest, sharing: near, besides: taken)
            .sorted { $0.members.count > $1.members.count }
        let likely = groups.prefix(networkCountMax - found.count).map { group in
            let common = group.common
            let wide = IPNetwork(
                common.address, prefixBitCount: min(common.prefixBitCount, narrowest))
            return isFree(wide) ? wide : common
        }
        return found + likely
    }

    /// Whether an address may be a service's own: a load balancer has one of the world's.
    static func isPlausible(_ address: IPAddress) -> Bool {
        (usual + privateNetworks).contains { $0.contains(address) }
    }

    /// The networks as a setting's value.
    package var value: String { networks.map(\.description).joined(separator: ",") }
}
