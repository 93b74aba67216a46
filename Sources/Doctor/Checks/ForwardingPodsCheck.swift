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
            senders(node) + services(network, node.settings)
            + behindRoutes(network, node.settings) + otherAddresses(network, node.settings)
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

    /// What is behind pods, and in a service network.
    private static func services(_ network: Node, _ settings: Settings) -> [Finding] {
        let isService = { (found: IPNetwork) in
            settings.serviceNetworks.contains { $0.overlaps(found) }
        }
        let networks = network.networksBehindPods.filter { isService($0.network) }
            .map { "\($0.network) (\($0.veth.link.name))" }
        let addresses = others(network).filter { isService(host($0.address)) }.map(text)
        guard !(networks + addresses).isEmpty else { return [] }
        return [
            finding(
                .warning,
                "behind pods, and in a service network: \(Wording.few(addresses + networks))",
                meaning: """
                    agents take such an address for a service's, so what it and pods send each other \
                    is reported twice
                    """,
                remedy: """
                    set \(Setting.serviceNetworks.option) to the API server's \
                    --service-cluster-ip-range and no more, or give the pod another address
                    """)
        ]
    }

    /// An address of one of a pod's other interfaces, such as its loopback.
    private typealias OtherAddress = (address: IPAddress, veth: Veth)

    private static func others(_ network: Node) -> [OtherAddress] {
        network.capturedVeths.flatMap { veth in veth.otherAddresses.map { ($0, veth) } }
    }

    private static func host(_ address: IPAddress) -> IPNetwork {
        IPNetwork(address, prefixBitCount: address.family.bitCount)
    }

    private static func text(_ other: OtherAddress) -> String {
        "\(other.address) (\(other.veth.link.name))"
    }

    /// Whether neither the pod networks nor the service networks hold a network.
    private static func isOutside(_ network: IPNetwork, _ settings: Settings) -> Bool {
        !settings.serviceNetworks.contains { $0.overlaps(network) }
            && !settings.podNetworks.contains {
                $0.contains(network.address) && $0.prefixBitCount <= network.prefixBitCount
            }
    }

    private static let known = """
        this node's agent knows them; packets between two such addresses behind pods of two nodes \
        are reported twice
        """

    private static func otherAddresses(_ network: Node, _ settings: Settings) -> [Finding] {
        let outside = others(network).filter { isOutside(host($0.address), settings) }
        guard !outside.isEmpty else { return [] }
        return [
            finding(
                .note,
                "pods have further addresses outside: \(Wording.few(outside.map(text)))",
                meaning: known, remedy: remedy)
        ]
    }

    /// What the node's routes say.
    private static func behindRoutes(_ network: Node, _ settings: Settings) -> [Finding] {
        let behind = network.networksBehindPods.filter { isOutside($0.network, settings) }
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
                    : known,
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
