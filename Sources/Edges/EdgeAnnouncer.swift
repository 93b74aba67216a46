import Addressing
import Netlink
package import Time

/// Decides which changes of edges are logged, and when.
///
/// An edge that comes has one line, as soon as its pod's addresses and name are known, or after a
/// second without them. An edge that goes has one line. A name that comes later has a line as well.
package struct EdgeAnnouncer: Sendable {
    private var previous: Node
    /// The incarnations of the edges that have been logged.
    private var announced: Set<UInt64>
    /// The edges that have not, and when each came.
    private var waiting: [UInt64: MonotonicTime] = [:]
    /// The edges that were logged without their pods' names.
    private var unnamed: Set<UInt64> = []

    /// A change of an edge that is worth a line.
    package enum Change: Equatable, Sendable {
        case captured(Veth)
        case named(Veth)
        case notCapturedAnyMore(Veth)
        case gone(Veth)

        /// The edge.
        package var veth: Veth {
            switch self {
            case .captured(let veth), .named(let veth), .notCapturedAnyMore(let veth),
                .gone(let veth):
                veth
            }
        }

        /// The message of the line.
        package var message: String {
            switch self {
            case .captured: "edge captured"
            case .named: "edge has a name"
            case .notCapturedAnyMore: "edge no longer captured"
            case .gone: "edge gone"
            }
        }
    }

    /// The longest that a line waits for addresses and a name.
    private static let delayMax = RefreshSchedule.delays.reduce(.zero, max)

    /// An announcer that takes a node's edges as logged.
    package init(_ node: Node) {
        previous = node
        announced = Set(node.capturedVeths.map(\.incarnation))
    }

    /// Takes the changes to log, given the node as it is now.
    ///
    /// `hasNames` says whether pods' names can be expected.
    package mutating func takeChanges(
        to node: Node, hasNames: Bool, now: MonotonicTime
    ) -> [Change] {
        let captured = node.capturedVeths
        let changes =
            takeGone(node, Set(captured.map(\.incarnation)))
            + takeNamed(captured)
            + takeCaptured(captured, hasNames: hasNames, now: now)
        previous = node
        return changes
    }

    private mutating func takeGone(_ node: Node, _ incarnations: Set<UInt64>) -> [Change] {
        unnamed.formIntersection(incarnations)
        var changes: [Change] = []
        for veth in previous.capturedVeths where !incarnations.contains(veth.incarnation) {
            let status = node.veths.first { $0.incarnation == veth.incarnation }?.status
            let exists = status != nil && status != .peerIsGone && status != .namespaceGone
            if waiting.removeValue(forKey: veth.incarnation) != nil {
                // It turned out to be no edge before it was logged.
                if exists { continue }
                changes.append(.captured(veth))
            }
            announced.remove(veth.incarnation)
            changes.append(exists ? .notCapturedAnyMore(veth) : .gone(veth))
        }
        return changes
    }

    private mutating func takeNamed(_ captured: [Veth]) -> [Change] {
        let named = captured.filter { $0.pod != nil && unnamed.contains($0.incarnation) }
        unnamed.subtract(named.map(\.incarnation))
        return named.map { .named($0) }
    }

    private mutating func takeCaptured(
        _ captured: [Veth], hasNames: Bool, now: MonotonicTime
    ) -> [Change] {
        var changes: [Change] = []
        for veth in captured where !announced.contains(veth.incarnation) {
            let since = waiting[veth.incarnation, default: now]
            waiting[veth.incarnation] = since
            let hasAddresses = veth.podAddresses?.contains { !$0.isLinkLocalIPv6 } ?? false
            let isComplete = hasAddresses && (veth.pod != nil || !hasNames)
            guard isComplete || now >= since + Self.delayMax else { continue }
            waiting[veth.incarnation] = nil
            announced.insert(veth.incarnation)
            if veth.pod == nil { unnamed.insert(veth.incarnation) }
            changes.append(.captured(veth))
        }
        return changes
    }
}
