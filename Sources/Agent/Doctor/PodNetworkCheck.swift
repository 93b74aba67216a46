import Frames
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

    /// Veths that may be pods', with the addresses that matter.
    private static func known(_ node: Node) -> [(edge: Candidate, addresses: [IPAddress])] {
        node.candidates.filter { [.edge, .outsidePodNetworks].contains($0.standing) }
            .map { ($0, ($0.podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }) }
            .filter { !$1.isEmpty }
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
        let pods = known(node)
        guard !pods.isEmpty else { return [] }
        let inside = pods.filter { $1.contains { contains(settings, $0) } }
        guard !inside.isEmpty else { return [noMatch(pods, node)] }
        let unused = settings.podNetworks.filter { network in
            !inside.contains { $1.contains { network.contains($0) } }
        }
        return stray(inside, settings) + leftOut(pods) + self.unused(unused)
    }

    private static func noMatch(
        _ pods: [(edge: Candidate, addresses: [IPAddress])], _ node: Node
    ) -> Finding {
        let effect =
            node.edges.isEmpty
            ? "the agent captures nothing"
            : "every packet between pods of two nodes is reported twice"
        return Finding(
            node.edges.isEmpty ? .failed : .warning, name,
            "none of \(Finding.count(pods.count, "pod")) has an address in them",
            meaning: "\(effect); the pods here have \(Finding.few(pods.flatMap(texts)))",
            remedy: """
                give the networks that these are in, the same on every node, with \
                \(Setting.podNetworks.option) or \(Setting.podNetworks.variable); the cluster's are \
                in the controller manager's --cluster-cidr or the network plug-in's configuration
                """)
    }

    private static func stray(
        _ inside: [(edge: Candidate, addresses: [IPAddress])], _ settings: Settings
    ) -> [Finding] {
        let stray = inside.flatMap { edge, addresses in
            addresses.filter { !contains(settings, $0) }.map { "\($0) (\(edge.link.name))" }
        }
        guard !stray.isEmpty else { return [] }
        return [
            Finding(
                .warning, name,
                "pods have addresses outside, too: \(Finding.few(stray))",
                meaning: """
                    other nodes do not know that these are pods', so packets between such addresses \
                    of two nodes are reported twice
                    """,
                remedy: "add their networks to \(Setting.podNetworks.option), of both families")
        ]
    }

    private static func leftOut(
        _ pods: [(edge: Candidate, addresses: [IPAddress])]
    ) -> [Finding] {
        let out = pods.filter { $0.edge.standing == .outsidePodNetworks }
        guard !out.isEmpty else { return [] }
        return [
            Finding(
                .note, name,
                "\(Finding.count(out.count, "veth")) left out: \(Finding.few(out.flatMap(texts)))",
                meaning: "what is behind them has no address in a pod network, and is not captured",
                remedy: """
                    if these are pods, add their networks to \(Setting.podNetworks.option); to \
                    capture them all the same, give \(Setting.edges.option) all
                    """)
        ]
    }

    private static func unused(_ networks: [Network]) -> [Finding] {
        guard !networks.isEmpty else { return [] }
        return [
            Finding(
                .note, name,
                "no pod of this node is in \(Finding.few(networks.map(\.description)))",
                meaning: "that is as it should be where they are of other nodes or other pools",
                remedy: "compare with the cluster's configuration")
        ]
    }

    private static func texts(_ edge: Candidate, _ addresses: [IPAddress]) -> [String] {
        addresses.map { "\($0) (\(edge.link.name))" }
    }

    private static func own(_ node: Node, _ settings: Settings) -> [Finding] {
        let own = node.exposedAddresses(settings)
        guard !own.isEmpty else { return [] }
        return [
            Finding(
                .warning, name,
                "the node's own address is in one: \(Finding.few(own.map(\.description)))",
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

    /// What is odd about the networks by themselves.
    private static func shape(_ settings: Settings) -> [Finding] {
        let single = settings.podNetworks.filter { $0.prefixBitCount == $0.family.bitCount }
        let common = settings.podNetworks.filter { network in
            settings.serviceNetworks.contains { $0.overlaps(network) }
        }
        var findings: [Finding] = []
        if !single.isEmpty {
            findings.append(
                Finding(
                    .warning, name, "\(Finding.few(single.map(\.description))) is one address",
                    meaning: "a network of one address holds one pod of the whole cluster",
                    remedy: "give it in CIDR form, such as 10.244.0.0/16"))
        }
        if !common.isEmpty {
            findings.append(
                Finding(
                    .warning, name,
                    "\(Finding.few(common.map(\.description))) and the service networks overlap",
                    meaning: """
                        addresses in both count as services', so packets between such pods are \
                        reported twice
                        """,
                    remedy: "give the cluster's own networks, which do not overlap"))
        }
        return findings
    }
}
