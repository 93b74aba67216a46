import Settings
import Formats
package import Addressing

import Netlink

/// Pods of this node whose addresses are known, while none of them has one in a pod network: these are
/// another cluster's, most likely.
package struct PodNetworkMismatch: Equatable, Sendable {
    package let podCount: Int
    /// All that these pods have, each with its edge's name.
    package let addresses: [(address: IPAddress, edge: String)]
    let podNetworks: [IPNetwork]
    /// Whether some of these pods are captured all the same, since settings say so.
    package let isCaptured: Bool

    /// Nil if there is none. That is so, too, where no pod's addresses are known.
    package init?(_ node: Node, _ podNetworks: [IPNetwork]) {
        let pods = node.addressedPods
        guard !pods.isEmpty else { return nil }
        let addresses = pods.flatMap { pod in pod.addresses.map { ($0, pod.edge.link.name) } }
        let isInside = addresses.contains { address, _ in
            podNetworks.contains { $0.contains(address) }
        }
        guard !isInside else { return nil }
        podCount = pods.count
        self.addresses = addresses
        self.podNetworks = podNetworks
        isCaptured = pods.contains(where: \.edge.isEdge)
    }

    package static func == (one: Self, other: Self) -> Bool {
        one.podCount == other.podCount && one.isCaptured == other.isCaptured
            && one.podNetworks == other.podNetworks
            && one.addresses.elementsEqual(other.addresses, by: ==)
    }

    /// What is wrong, as part of a sentence.
    package var description: String {
        let networks = podNetworks.map(\.description).joined(separator: ",")
        let place = "an address in \(Setting.podNetworks.variable) \(networks)"
        let found = Wording.few(addresses.map { "\($0.address)" })
        return podCount == 1
            ? "the one pod here does not have \(place): it has \(found)"
            : "none of the \(podCount) pods here has \(place): they have \(found)"
    }

    /// What to do where the pods are in other networks.
    package static let remedy = """
        give the networks that these are in, the same on every node, with \
        \(Setting.podNetworks.option) or \(Setting.podNetworks.variable); the cluster's are in the \
        controller manager's --cluster-cidr or the network plug-in's configuration
        """

    /// What that does to the agent.
    package var effect: String {
        isCaptured
            ? "every packet between pods of two nodes is reported twice"
            : "the agent captures nothing of what they exchange"
    }
}

extension Node {
    /// Veths that may be pods', with those of their addresses that tell something. What is excluded, and
    /// pods whose addresses are not known, are not among them.
    package var addressedPods: [(edge: Veth, addresses: [IPAddress])] {
        candidates.filter { [.edge, .outsidePodNetworks].contains($0.standing) }
            .map { ($0, ($0.podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }) }
            .filter { !$1.isEmpty }
    }
}
