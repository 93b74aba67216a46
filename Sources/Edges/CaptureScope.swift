import Addressing
import Netlink
import Observation

/// What a capture shows.
package enum CaptureScope: Equatable, Sendable {
    /// All edges, each packet once.
    case stream
    /// All that passes at one edge, whoever else reports it: for looking at one pod. The edge is
    /// known by its incarnation, since names are used again.
    case edge(incarnation: UInt64)
}

extension NodePublisher.Snapshot {
    /// As much of it as a capture of this scope has to know. One edge alone reports everything but
    /// the feed itself.
    package func limited(to scope: CaptureScope) -> Self {
        guard case .edge(let incarnation) = scope else { return self }
        return Self(
            version: version, places: places.filter { $0.incarnation == incarnation },
            rule: Rule(rule.addressPlan, deduplicates: false))
    }
}
