package import Addressing
import Formats
import Netlink
import Settings

/// The fact that no pod of this node has an address in a pod network.
///
/// The pod networks are then most likely those of another cluster.
package struct PodNetworkMismatch: Equatable, Sendable {
    /// The number of pods whose addresses are known.
    package let podCount: Int
    /// All addresses of these pods, each with its edge's name.
    package let addresses: [(address: IPAddress, edge: String)]
    let podNetworks: [IPNetwork]
    /// Whether some of these pods are captured all the same, since settings say so.
    package let isCaptured: Bool

    /// Compares pods with the networks; nil if they match, or no pod's addresses are known.
    package init?(_ node: Node, _ podNetworks: [IPNetwork]) {
        let pods = node.addressedPods
        guard !pods.isEmpty else { return nil }
        let addresses = pods.flatMap { pod in pod.addresses.map { ($0, pod.veth.link.name) } }
        let isInside = addresses.contains { address, _ in
            podNetworks.contains { $0.contains(address) }
        }
        guard !isInside else { return nil }
        podCount = pods.count
        self.addresses = addresses
        self.podNetworks = podNetworks
        isCaptured = pods.contains(where: \.veth.isCaptured)
    }

    /// Whether all parts are equal.
    package static func == (one: Self, other: Self) -> Bool {
        one.podCount == other.podCount && one.isCaptured == other.isCaptured
            && one.podNetworks == other.podNetworks
            && one.addresses.elementsEqual(other.addresses, by: ==)
    }

    /// The mismatch as part of a sentence.
    package var description: String {
        let networks = podNetworks.map(\.description).joined(separator: ",")
        let wanted = "an address in \(Setting.podNetworks.variable) \(networks)"
        let found = Wording.few(addresses.map { "\($0.address)" })
        return podCount == 1
            ? "the one pod here does not have \(wanted): it has \(found)"
            : "none of the \(podCount) pods here has \(wanted): they have \(found)"
    }

    /// What to do.
    package static let remedy = """
        set \(Setting.podNetworks.option) or \(Setting.podNetworks.variable) to the networks of \
        these addresses, the same on every node; the controller manager's --cluster-cidr or the \
        network plug-in's configuration has them
        """

    /// What the mismatch does to the agent.
    package var effect: String {
        isCaptured
            ? "every packet between pods of two nodes is reported twice"
            : "the agent captures nothing of these pods"
    }
}

extension Node {
    /// The veths that may be pods', with those of the pods' addresses that are not link-local.
    ///
    /// Excluded veths, and pods whose addresses are not known, are left out.
    package var addressedPods: [(veth: Veth, addresses: [IPAddress])] {
        veths.filter { [.captured, .outsidePodNetworks].contains($0.status) }
            .map { ($0, ($0.podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }) }
            .filter { !$1.isEmpty }
    }
}
