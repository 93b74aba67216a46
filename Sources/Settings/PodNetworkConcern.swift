import Addressing
import Formats

/// A likely mistake in the pod networks that shows without a look at the node.
package struct PodNetworkConcern: Equatable, Sendable {
    /// What is odd, as the rest of a sentence that begins with "pod networks".
    package let found: String
    /// What that does to an agent.
    package let meaning: String
    /// What to do about it.
    package let remedy: String

    /// The whole concern in one line, for a log.
    package var line: String { "pod networks: \(found); \(meaning); \(remedy)" }
}

extension Settings {
    /// The likely mistakes in the pod networks, each once.
    package var podNetworkConcerns: [PodNetworkConcern] {
        var concerns: [PodNetworkConcern] = []
        let single = podNetworks.filter { $0.prefixBitCount == $0.family.bitCount }
        if !single.isEmpty {
            concerns.append(
                PodNetworkConcern(
                    found: "\(Wording.few(single.map(\.description))) is one address",
                    meaning: "a network of one address holds one pod of the whole cluster",
                    remedy: "give it in CIDR form, such as 10.244.0.0/16"))
        }
        let common = podNetworks.filter { network in
            serviceNetworks.contains { $0.overlaps(network) }
        }
        if !common.isEmpty {
            concerns.append(
                PodNetworkConcern(
                    found: """
                        \(Wording.few(common.map(\.description))) and the service networks overlap
                        """,
                    meaning: """
                        an address in both counts as a service's, so packets between such pods are \
                        reported twice
                        """,
                    remedy: "give the cluster's own networks, which do not overlap"))
        }
        return concerns
    }
}
