import Edges
import Formats
import Netlink
import Settings
import Taps

/// Checks whether an agent can capture inside pods, if it is set to.
enum PodTapCheck: DoctorCheck {
    static let id = "pod-taps"
    static let title = "pod taps"

    /// What a failure does to an agent.
    private static func meaning(_ node: Examination) -> String {
        var parts: [String] = []
        if node.settings.taps.mode != .host {
            parts.append(
                "edges that should be captured inside their pods are captured at the host's ends")
        }
        if node.settings.taps.includesPodInterfaces {
            parts.append("pods' interfaces without an end in the node are not captured")
        }
        return parts.joined(separator: "; ")
    }

    static func findings(_ node: Examination) -> [Finding] {
        guard node.settings.taps.needsOpener else { return [] }
        switch node.podTaps {
        case nil: return []
        case .failure(let error):
            return [
                finding(
                    .note, "cannot be judged: \(error)", meaning: meaning(node),
                    remedy: "run the doctor again")
            ]
        case .success(let trial):
            let faults = folder(trial, node) + opener(trial, node) + pods(trial, node)
            return faults.isEmpty ? [ok(summary(trial, node))] : faults
        }
    }

    private static func folder(_ trial: PodTapTrial, _ node: Examination) -> [Finding] {
        var findings = trial.listing.problems.map { problem in
            finding(
                problem.isHarmless ? .note : .warning, problem.description,
                meaning: problem.isHarmless
                    ? "new pods are noticed within half a minute" : meaning(node),
                remedy: problem.advice)
        }
        if trial.isPrivateMount {
            findings.append(
                finding(
                    .warning, "the folder of network namespaces is mounted without propagation",
                    meaning: "of pods that come after the agent the namespaces are not found",
                    remedy: "mount it with mountPropagation: HostToContainer"))
        }
        return findings
    }

    private static func opener(_ trial: PodTapTrial, _ node: Examination) -> [Finding] {
        guard let failure = trial.openerFailure else { return [] }
        return [
            finding(
                .warning, failure.description, meaning: meaning(node), remedy: failure.advice)
        ]
    }

    /// The pods whose namespaces have no file in the folder, though some folder must have one.
    private static func pods(_ trial: PodTapTrial, _ node: Examination) -> [Finding] {
        let lacking = edges(node).filter { edge in
            edge.link.peerNamespace.map { trial.listing.files[$0] == nil } ?? false
        }
        // Another finding says why.
        guard !lacking.isEmpty, trial.listing.problems.allSatisfy(\.isHarmless),
            !trial.isPrivateMount
        else { return [] }
        let names = Wording.few(lacking.map(\.link.name))
        return [
            finding(
                .warning,
                """
                of \(lacking.count) in \(Wording.count(edges(node).count, "edge")) the network \
                namespace has no file in \(node.settings.taps.namespaceFolder): \(names)
                """,
                meaning: meaning(node),
                remedy: """
                    name the folder in which this node's runtime keeps them with \
                    \(Setting.namespaceFolder.option), and mount it: /run/netns, with Docker \
                    /run/docker/netns
                    """)
        ]
    }

    /// The edges that may be captured inside their pods.
    private static func edges(_ node: Examination) -> [Veth] {
        node.node?.capturedVeths.filter {
            node.settings.taps.mode != .host || $0.isPodInterface
        } ?? []
    }

    private static func summary(_ trial: PodTapTrial, _ node: Examination) -> String {
        """
        the opener answers, and the network namespaces of \
        \(Wording.count(edges(node).count, "edge")) are found\(podInterfaces(node))
        """
    }
}

extension PodTapCheck {
    private static func podInterfaces(_ node: Examination) -> String {
        guard node.settings.taps.includesPodInterfaces else { return "" }
        let count = edges(node).count(where: \.isPodInterface)
        return ", \(count) of them without an end in the node"
    }
}

extension NamespaceProblem {
    /// Whether pods are still found, if late.
    fileprivate var isHarmless: Bool {
        if case .watch = self { true } else { false }
    }
}
