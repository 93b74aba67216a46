package import Settings
package import Edges
import Formats
import Addressing
import Netlink

/// What the node's interfaces are like.
package enum EdgeCheck {
    private static let name = "edges"

    package static func findings(_ node: Node, _ settings: Settings) -> [Finding] {
        [edges(node, settings)] + netkit(node)
    }

    private static func edges(_ node: Node, _ settings: Settings) -> Finding {
        guard node.edges.isEmpty else { return .ok(name, summary(node)) }
        if let own = node.exposedAddresses(settings).first, isAlone(node) {
            return Finding(
                .failed, name, "none, and this network namespace's own address \(own) is a pod's",
                meaning: "the agent is in a network of its own, and sees no other pod",
                remedy: "set hostNetwork: true in the pod's spec")
        }
        if node.candidates.contains(where: { $0.standing != .uplink }) {
            return Finding(
                .note, name, "none, of \(Wording.count(node.candidates.count, "veth"))",
                meaning: "no pod is captured", remedy: "`podwire edges` says why of each")
        }
        return Finding(
            .note, name, "none",
            meaning: """
                no pod is connected to this network namespace yet; if there are pods on the node, \
                the agent is not in the node's network, or they are not connected by veths
                """,
            remedy: "set hostNetwork: true in the pod's spec, if it is not; see `podwire edges`")
    }

    /// Whether the uplink is a veth, and nothing else is one, as in a pod.
    private static func isAlone(_ node: Node) -> Bool {
        !node.candidates.isEmpty && node.candidates.allSatisfy { $0.standing == .uplink }
    }

    private static func summary(_ node: Node) -> String {
        let knownCount = node.edges.count { edge in
            edge.podAddresses?.contains { !$0.isLinkLocalIPv6 } ?? false
        }
        let excludedCount = node.candidates.count { $0.standing == .excluded }
        let excluded = excludedCount == 0 ? "" : ", \(excludedCount) excluded"
        return "\(node.edges.count), of \(knownCount) the pod's addresses are known\(excluded)"
    }

    private static func netkit(_ node: Node) -> [Finding] {
        let names = node.links.values.filter { $0.kind == "netkit" }.map(\.name).sorted()
        guard !names.isEmpty else { return [] }
        return [
            Finding(
                node.edges.isEmpty ? .failed : .warning, "data path",
                "\(Wording.count(names.count, "device")) of kind netkit: \(Wording.few(names))",
                meaning:
                    "pods behind them are not captured: packets do not pass them as they do veths",
                remedy: "have the network plug-in use veths (Cilium: bpf.datapathMode=veth)")
        ]
    }
}
