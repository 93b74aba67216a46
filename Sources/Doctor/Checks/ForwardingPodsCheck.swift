import Addressing
import Edges
import Formats
import Netlink
import Settings

/// Checks whether pods forward for networks that other nodes' agents do not know.
enum ForwardingPodsCheck: DoctorCheck {
    static let id = "forwarding-pods"
    static let title = "forwarding pods"

    static func findings(_ node: Examination) -> [Finding] {
        guard let network = node.node else { return [] }
        let found =
            senders(node) + behindRoutes(network, node.settings)
            + defaultRoutes(network.defaultRoutesThroughPods)
        return found.isEmpty ? [ok("none are known")] : found
    }

    private static let remedy = """
        add their networks to \(Setting.podNetworks.option) on every node, so that all agents know \
        that they are behind pods
        """

    /// What a running agent has seen.
    private static func senders(_ node: Examination) -> [Finding] {
        guard let senders = node.senders, !senders.isEmpty else { return [] }
        let texts = senders.map { "\($0.address) (\($0.edge))" }
        return [
            finding(
                .warning, "pods send from addresses of nobody: \(Wording.few(texts))",
                meaning: """
                    they forward for others, or have addresses that the node cannot see; what such \
                    addresses and pods send each other is reported at both of their edges
                    """,
                remedy: """
                    \(remedy); if nothing of a network is behind an edge, name it with \
                    \(Setting.uncovered.option)
                    """)
        ]
    }

    /// What the node's routes say.
    private static func behindRoutes(_ network: Node, _ settings: Settings) -> [Finding] {
        let behind = network.networksBehindPods.filter { entry in
            !settings.podNetworks.contains {
                $0.contains(entry.network.address)
                    && $0.prefixBitCount <= entry.network.prefixBitCount
            }
        }
        guard !behind.isEmpty else { return [] }
        let texts = behind.map { "\($0.network) (\($0.veth.link.name))" }
        let isTooMany = behind.count > Node.networkBehindPodCountMax
        return [
            finding(
                isTooMany ? .warning : .note,
                "routes lead through pods to networks outside: \(Wording.few(texts))",
                meaning: isTooMany
                    ? """
                    this node's agent knows only the first \(Node.networkBehindPodCountMax); packets \
                    to and from the others are reported at two edges
                    """
                    : """
                    this node's agent knows them; packets between two such networks behind pods of \
                    two nodes are reported twice
                    """,
                remedy: remedy)
        ]
    }

    /// The default routes that lead through pods, in use or not.
    private static func defaultRoutes(_ routes: [Node.DefaultRouteThroughPod]) -> [Finding] {
        guard !routes.isEmpty else { return [] }
        let names = Set(routes.map(\.veth.link.name)).sorted()
        let isInUse = routes.contains(where: \.isInUse)
        return [
            finding(
                isInUse ? .warning : .note,
                "a default route leads through a pod: \(Wording.few(names))",
                meaning: isInUse
                    ? """
                    what other pods and machines outside send each other passes this pod as well, \
                    and is reported at both edges
                    """
                    : "the node prefers another default route, so nothing is reported twice",
                remedy: isInUse
                    ? """
                    if only some pods need this gateway, put the route into a table of their own; \
                    otherwise expect these packets before and after the gateway
                    """
                    : "none is needed while the other default route is there")
        ]
    }
}
