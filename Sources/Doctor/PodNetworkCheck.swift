package import Settings
package import Edges
import Formats
import Addressing
import Netlink

/// Whether the pod networks are those of the pods.
package enum PodNetworkCheck {
    private static let name = "pod networks"

    package static func findings(_ node: Node, _ settings: Settings) -> [Finding] {
        let findings = pods(node, settings) + own(node, settings) + shape(settings)
        guard findings.isEmpty else { return findings }
        let texts = settings.podNetworks.map(\.description)
        return [.ok(name, texts.joined(separator: ", "))]
    }

    private static func contains(_ settings: Settings, _ address: IPAddress) -> Bool {
        settings.podNetworks.contains { $0.contains(address) }
    }

    private static func pods(_ node: Node, _ settings: Settings) -> [Finding] {
        if let blindness = node.blindness {
            return [
                Finding(
                    .note, name, "cannot be compared with the pods' addresses: \(blindness)",
                    meaning: "every veth that leads to another namespace is captured",
                    remedy: "see the capabilities")
            ]
        }
        let pods = node.addressedPods
        guard !pods.isEmpty else { return [] }
        if let mismatch = PodNetworkMismatch(node, settings.podNetworks) {
            return [finding(mismatch)]
        }
        let inside = pods.filter { $1.contains { contains(settings, $0) } }
        let unused = settings.podNetworks.filter { network in
            !inside.contains { $1.contains { network.contains($0) } }
        }
        return stray(inside, settings) + leftOut(pods) + self.unused(unused)
    }

    private static func finding(_ mismatch: PodNetworkMismatch) -> Finding {
        let texts = mismatch.addresses.map { "\($0.address) (\($0.edge))" }
        return Finding(
            mismatch.isCaptured ? .warning : .failed, name,
            "none of \(Wording.count(mismatch.podCount, "pod")) has an address in them",
            meaning: "\(mismatch.effect); the pods here have \(Wording.few(texts))",
            remedy: PodNetworkMismatch.remedy)
    }

    private static func stray(
        _ inside: [(edge: Veth, addresses: [IPAddress])], _ settings: Settings
    ) -> [Finding] {
        let stray = inside.flatMap { edge, addresses in
            texts(edge, addresses.filter { !contains(settings, $0) })
        }
        guard !stray.isEmpty else { return [] }
        return [
            Finding(
                .warning, name,
                "pods have addresses outside, too: \(Wording.few(stray))",
                meaning: """
                    other nodes do not know that these are pods', so packets between such addresses \
                    of two nodes are reported twice
                    """,
                remedy: "add their networks to \(Setting.podNetworks.option), of both families")
        ]
    }

    private static func leftOut(
        _ pods: [(edge: Veth, addresses: [IPAddress])]
    ) -> [Finding] {
        let out = pods.filter { $0.edge.standing == .outsidePodNetworks }
        guard !out.isEmpty else { return [] }
        return [
            Finding(
                .note, name,
                "\(Wording.count(out.count, "veth")) left out: \(Wording.few(out.flatMap(texts)))",
                meaning: "what is behind them has no address in a pod network, and is not captured",
                remedy: """
                    if these are pods, add their networks to \(Setting.podNetworks.option); to \
                    capture them all the same, give \(Setting.edges.option) all
                    """)
        ]
    }

    private static func unused(_ networks: [IPNetwork]) -> [Finding] {
        guard !networks.isEmpty else { return [] }
        return [
            Finding(
                .note, name,
                "no pod of this node is in \(Wording.few(networks.map(\.description)))",
                meaning: "that is as it should be where they are of other nodes or other pools",
                remedy: "compare with the cluster's configuration")
        ]
    }

    private static func texts(_ edge: Veth, _ addresses: [IPAddress]) -> [String] {
        addresses.map { "\($0) (\(edge.link.name))" }
    }

    private static func own(_ node: Node, _ settings: Settings) -> [Finding] {
        let own = node.exposedAddresses(settings)
        guard !own.isEmpty else { return [] }
        return [
            Finding(
                .warning, name,
                "the node's own address is in one: \(Wording.few(own.map(\.description)))",
                meaning: """
                    agents of other nodes take it, and other machines of that network, for pods: \
                    what these exchange with pods is left to edges that do not exist
                    """,
                remedy: """
                    name the machines in it with \(Setting.uncovered.option), on every node, or give \
                    narrower networks
                    """)
        ]
    }

    /// What is odd about the networks by themselves, whatever the node is like.
    private static func shape(_ settings: Settings) -> [Finding] {
        settings.podNetworkConcerns.map {
            Finding(.warning, name, $0.found, meaning: $0.meaning, remedy: $0.remedy)
        }
    }
}
