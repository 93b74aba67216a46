import Edges
import Forwarding
import Linux
package import Metrics
import Netlink
import Settings

/// The page of metrics: what captures have counted for each peer and each edge, and what the agent
/// knows of its node and of itself.
package struct AgentMetrics {
    typealias Sample = Exposition.Sample

    /// A family, and how its samples are read.
    struct Metric: Sendable {
        let family: Exposition.Family
        let samples: @Sendable (AgentMetrics) -> [Sample]
    }

    let status: AgentStatus
    let settings: Settings
    let node: Node
    let isReady: Bool
    /// What the kernel says of the process.
    let figures: ProcessFigures?
    /// The counts of each peer's captures.
    let peers: [(name: String, counts: CaptureCounts)]
    /// The frames of each edge with a series of its own, and of all others together, for each peer.
    let edges: [(labels: [String], frames: FrameCounts)]

    /// The name of all edges that have no series of their own.
    ///
    /// Names of interfaces have no spaces.
    private static let otherEdges = "all others"

    /// Takes all counts from moments close to each other.
    init(
        _ status: AgentStatus, _ feed: NodePublisher, _ settings: Settings,
        _ series: inout EdgeLabelSet
    ) {
        (self.status, self.settings) = (status, settings)
        isReady = Health.readiness(of: status, feed.mismatch).isGood
        figures = ProcessFigures.read()
        // Counted edges come first: an edge that is not among the node's is gone.
        let counted = status.peers.map { (name: $0.name, edges: $0.edges) }
        node = feed.node
        peers = status.peers.map { ($0.name, $0.totals) }
        let names = Dictionary(node.veths.map { ($0.incarnation, $0.link.name) }) { $1 }
        series.update(
            Set(counted.flatMap { $0.edges.edges.keys })
                .filter { names[$0] != nil || $0 == SharedRing.incarnation })
        var edges: [(labels: [String], frames: FrameCounts)] = []
        for (peer, counts) in counted {
            var others = counts.gone
            for (incarnation, edge) in counts.edges.sorted(by: { $0.key < $1.key }) {
                if series.incarnations.contains(incarnation) {
                    edges.append(([peer, names[incarnation] ?? edge.name], edge.frames))
                } else {
                    others += edge.frames
                }
            }
            edges.append(([peer, Self.otherEdges], others))
        }
        self.edges = edges
    }

    /// All families that an agent's page has, in the order of the page.
    package static var families: [Exposition.Family] { all.map(\.family) }

    var text: String {
        var page = Exposition()
        for metric in Self.all { page.add(metric.family, metric.samples(self)) }
        return page.text
    }
}
