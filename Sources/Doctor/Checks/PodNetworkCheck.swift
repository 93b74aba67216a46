import Addressing
import Edges
import Formats
import Netlink
import Settings

/// Checks whether the pod networks are those of the pods.
enum PodNetworkCheck: DoctorCheck {
    static let id = "pod-networks"
    static let title = "pod networks"

    private typealias AddressedPod = (veth: Veth, addresses: [IPAddress])

    static func findings(_ node: Examination) -> [Finding] {
        let networks = node.settings.podNetworks
        guard !networks.isEmpty else { return [none(node)] }
        guard let network = node.node else { return [] }
        let ofNode =
            node.onLinkPodNetworks.map { onLink($0, node, network) }
            ?? pods(node, network, networks) + own(network, node.ruleSettings)
        let findings = ofNode + shape(node.settings)
        guard findings.isEmpty else { return findings }
        return [ok(networks.map(\.description).joined(separator: ", "))]
    }

    /// The pods' networks are not known, or what was given for them cannot be understood.
    private static func none(_ node: Examination) -> Finding {
        let fault = node.examined.faults.first { $0.setting == .podNetworks }
        let empty = node.settings.takesOnLinkPodNetworks ? OnLinkPodNetworks.Failure.none : nil
        let given = fault.map { "\($0)" } ?? empty.map { "\($0)" } ?? "none given"
        let texts = (node.node?.addressedPods ?? []).flatMap(texts)
        let seen = texts.isEmpty ? "" : "; pods here have \(Wording.few(texts))"
        return finding(
            .failed, given + seen,
            meaning: "the agent cannot tell pods from others, and exits with 64",
            remedy: proposal(node))
    }

    /// What to set, ready to paste.
    private static func proposal(_ node: Examination) -> String {
        let ask = """
            `kubectl cluster-info dump | grep -m1 cluster-cidr` or the network plug-in's configuration \
            tells for sure (k8s/README.md, Finding the networks)
            """
        guard let proposal = node.podNetworkProposal, !proposal.networks.isEmpty else {
            return """
                set \(Setting.podNetworks.option) or \(Setting.podNetworks.variable) to the networks of \
                the cluster's pods, which do not show on this node; \(ask)
                """
        }
        return "set \(Setting.podNetworks.variable)=\(proposal.value): \(proposal.reason); \(ask)"
    }

    /// What an empty variable implies on this node.
    ///
    /// It is the cause of all that is wrong with the pods' addresses, so nothing else is said of them.
    private static func onLink(
        _ onLink: OnLinkPodNetworks, _ node: Examination, _ network: Node
    ) -> [Finding] {
        let mismatch = PodNetworkMismatch(network, onLink.networks)
        let outside = network.addressedPods.flatMap { pod in
            texts(pod.veth, pod.addresses.filter { !isInside(onLink.networks, $0) })
        }
        let implied =
            outside.isEmpty
            ? "what has an address in them is taken for a pod"
            : """
            pods' addresses \(Wording.few(outside)) lie outside: nothing of them is taken for a pod
            """
        return unknown(network) + [
            finding(
                mismatch.map(grade) ?? .warning,
                """
                \(Setting.podNetworks.variable) is empty, which stands for the on-link networks of the \
                default route's interface: \(onLink.description)
                """,
                meaning: "\(implied); machines of these networks are taken for pods as well",
                remedy: proposal(node))
        ]
    }

    /// The pods' addresses cannot be read.
    private static func unknown(_ network: Node) -> [Finding] {
        network.addressFailure.map { failure in
            [
                finding(
                    .note, "cannot be compared with the pods' addresses: \(failure)",
                    meaning: "every veth that leads to another namespace is captured",
                    remedy: "add the capability that is missing (see capabilities)")
            ]
        } ?? []
    }

    private static func pods(
        _ node: Examination, _ network: Node, _ networks: [IPNetwork]
    ) -> [Finding] {
        guard network.addressFailure == nil else { return unknown(network) }
        let pods = network.addressedPods
        guard !pods.isEmpty else { return [] }
        if let mismatch = PodNetworkMismatch(network, networks) {
            return [finding(mismatch, node)]
        }
        return outside(pods, networks) + leftOut(pods) + unused(pods, networks)
    }

    private static func grade(_ mismatch: PodNetworkMismatch) -> Finding.Grade {
        mismatch.isCaptured ? .warning : .failed
    }

    private static func finding(_ mismatch: PodNetworkMismatch, _ node: Examination) -> Finding {
        let texts = mismatch.addresses.map { "\($0.address) (\($0.edge))" }
        return finding(
            grade(mismatch),
            "none of \(Wording.count(mismatch.podCount, "pod")) has an address in them",
            meaning: "\(mismatch.effect); the pods here have \(Wording.few(texts))",
            remedy: proposal(node))
    }

    private static func isInside(_ networks: [IPNetwork], _ address: IPAddress) -> Bool {
        networks.contains { $0.contains(address) }
    }

    /// The addresses outside the pod networks of pods that have others inside.
    private static func outside(_ pods: [AddressedPod], _ networks: [IPNetwork]) -> [Finding] {
        let outside = pods.filter { $0.addresses.contains { isInside(networks, $0) } }
            .flatMap { pod in
                texts(pod.veth, pod.addresses.filter { !isInside(networks, $0) })
            }
        guard !outside.isEmpty else { return [] }
        return [
            finding(
                .warning, "pods have addresses outside as well: \(Wording.few(outside))",
                meaning: """
                    other nodes do not know that these are pods, so packets between such addresses \
                    of two nodes are reported twice
                    """,
                remedy: "add their networks, of both families, to \(Setting.podNetworks.option)")
        ]
    }

    private static func leftOut(_ pods: [AddressedPod]) -> [Finding] {
        let out = pods.filter { $0.veth.status == .outsidePodNetworks }
        guard !out.isEmpty else { return [] }
        return [
            finding(
                .note,
                "\(Wording.count(out.count, "veth")) left out: \(Wording.few(out.flatMap(texts)))",
                meaning: "no address behind them is in a pod network, so they are not captured",
                remedy: """
                    if these are pods, add their networks to \(Setting.podNetworks.option); to \
                    capture them without that, set \(Setting.edges.option) all
                    """)
        ]
    }

    private static func unused(_ pods: [AddressedPod], _ networks: [IPNetwork]) -> [Finding] {
        let unused = networks.filter { network in
            !pods.contains { $0.addresses.contains { network.contains($0) } }
        }
        guard !unused.isEmpty else { return [] }
        return [
            finding(
                .note, "no pod of this node is in \(Wording.few(unused.map(\.description)))",
                meaning: "that is normal for networks of other nodes and other pools",
                remedy: "compare with the cluster's configuration")
        ]
    }

    private static func texts(_ veth: Veth, _ addresses: [IPAddress]) -> [String] {
        addresses.map { "\($0) (\(veth.link.name))" }
    }

    private static func own(_ network: Node, _ settings: RuleSettings) -> [Finding] {
        let own = network.exposedAddresses(settings)
        guard !own.isEmpty else { return [] }
        return [
            finding(
                .warning,
                "the node's own address is in one: \(Wording.few(own.map(\.description)))",
                meaning: """
                    agents of other nodes take it, and other machines of its network, for pods, and \
                    leave packets between them and pods to edges that do not exist
                    """,
                remedy: """
                    name these machines with \(Setting.uncovered.option) on every node, or set \
                    narrower networks
                    """)
        ]
    }

    /// The concerns about the networks by themselves, whatever the node is like.
    private static func shape(_ settings: Settings) -> [Finding] {
        settings.podNetworkConcerns.map {
            finding(.warning, $0.found, meaning: $0.meaning, remedy: $0.remedy)
        }
    }
}
