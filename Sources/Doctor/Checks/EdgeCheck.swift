import Addressing
import Edges
import Formats
import Netlink

/// Checks whether the node has edges to capture at.
enum EdgeCheck: DoctorCheck {
    static let id = "edges"
    static let title = "edges"

    static func findings(_ node: Examination) -> [Finding] {
        guard let network = node.node else { return [] }
        guard network.capturedVeths.isEmpty else { return [ok(summary(network))] }
        if let own = network.exposedAddresses(node.ruleSettings).first, hasUplinkAlone(network) {
            return [
                finding(
                    .failed, "none, and this network namespace's own address \(own) is a pod's",
                    meaning: "the agent is in a pod's own network, and sees no other pod",
                    remedy: "set hostNetwork: true in the pod's spec")
            ]
        }
        if network.veths.contains(where: { $0.status != .uplink }) {
            return [
                finding(
                    .note, "none among \(Wording.count(network.veths.count, "veth"))",
                    meaning: "no pod is captured",
                    remedy: "run `podwire edges`, which says why for each veth")
            ]
        }
        return [
            finding(
                .note, "none",
                meaning: """
                    no pod is connected to this network namespace yet; if the node has pods, the \
                    agent is not in the node's network, or the pods have no veths
                    """,
                remedy: """
                    set hostNetwork: true in the pod's spec, unless it is set; `podwire edges` lists \
                    the veths
                    """)
        ]
    }

    /// Whether the only veth is the uplink, as in a pod.
    private static func hasUplinkAlone(_ network: Node) -> Bool {
        !network.veths.isEmpty && network.veths.allSatisfy { $0.status == .uplink }
    }

    private static func summary(_ network: Node) -> String {
        let edges = network.capturedVeths
        let knownCount = edges.count { edge in
            edge.podAddresses?.contains { !$0.isLinkLocalIPv6 } ?? false
        }
        let known = knownCount == edges.count ? "all" : "\(knownCount) of"
        let noneCount = edges.count { edge in
            edge.podAddresses?.allSatisfy(\.isLinkLocalIPv6) ?? false
        }
        let none =
            noneCount == 0
            ? ""
            : """
            , \(Wording.count(noneCount, one: "has", more: "have")) none, as a pod that has given its \
            address to a guest
            """
        let excludedCount = network.veths.count { $0.status == .excluded }
        let excluded = excludedCount == 0 ? "" : ", \(excludedCount) excluded"
        let macCount = edges.reduce(0) { sum, edge in
            sum + edge.macs.count { $0 != edge.podMAC }
        }
        let macs =
            macCount == 0 ? "" : ", \(Wording.count(macCount, "further MAC")) behind them"
        return """
            \(edges.count); the addresses of \(known) their pods are known\(none)\(excluded)\(macs)
            """
    }
}
