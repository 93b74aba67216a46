import Addressing
import Formats

/// Something odd about the pod networks by themselves, whatever the node is like.
package struct PodNetworkConcern: Equatable, Sendable {
    /// What the networks are like, as a person would say it after the words "pod networks".
    package let found: String
    /// What that does to an agent.
    package let meaning: String
    /// What to do about it.
    package let remedy: String

    /// All of it in one line, for a log.
    package var line: String { "pod networks: \(found); \(meaning); \(remedy)" }
}

extension Settings {
    /// What is odd about the pod networks, each once.
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
                        addresses in both count as services', so packets between such pods are \
                        reported twice
                        """,
                    remedy: "give the cluster's own networks, which do not overlap"))
        }
        return concerns
    }
}
