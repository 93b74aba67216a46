import Addressing
import Netlink
import Observation

/// The part of the node that a capture shows.
package enum CaptureScope: Equatable, Sendable {
    /// All edges, each packet once.
    case stream
    /// Everything that passes one edge, whether or not another edge reports it as well.
    ///
    /// The edge is known by its incarnation, since names are used again.
    case edge(incarnation: UInt64)
}

extension NodePublisher.Snapshot {
    /// The part of the snapshot that a capture of a scope needs.
    ///
    /// A capture of one edge reports every packet but those of the feed itself.
    package func limited(to scope: CaptureScope) -> Self {
        guard case .edge(let incarnation) = scope else { return self }
        return Self(
            version: version, edges: edges.filter { $0.incarnation == incarnation },
            rule: Rule(rule.addressPlan, deduplicates: false), localEdges: LocalEdges())
    }
}
