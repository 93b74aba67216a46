package import Time

/// A budget for the changes that each pod causes, beyond which they are known a little later.
///
/// A change of what lives behind an edge replaces the programs of all edges. A pod that may configure
/// its network, or send raw frames, can make such changes without end.
package struct PodChangeBudget: Sendable {
    /// The time until which each pod's budget is used up in part.
    private var usedUntil: [UInt32: MonotonicTime] = [:]
    /// The newest state of the pods that have changed beyond their budgets.
    private var waitingPods: [UInt32: EdgeTable.Pod] = [:]
    /// When the pods that wait are applied; the distant future if none do.
    private var podsDueAt = MonotonicTime.distantFuture
    /// When what bridges have learned is shown; the distant future if nothing waits.
    private var macsDueAt = MonotonicTime.distantFuture

    /// The most changes of a pod that are applied at once: more than a pod makes when it starts.
    package static let changeCountMax = 10
    /// The time in which a pod gets the budget for one more change.
    package static let changeInterval = Duration.seconds(5)
    /// The longest that a change waits, together with those of all other pods.
    package static let delay = Duration.milliseconds(500)
    /// The longest that what bridges have learned waits.
    ///
    /// It replaces the programs of one or two edges only, and frames to a MAC address that nobody
    /// knows are held back for no longer than a quarter of a second.
    package static let macDelay = Duration.milliseconds(100)

    /// A budget of which nothing is used.
    package init() {}

    /// When something that waits is applied; the distant future if nothing waits.
    package var dueAt: MonotonicTime { min(podsDueAt, macsDueAt) }

    /// Applies a reply to a table, or keeps it until `dueAt` if it is a change beyond the budget.
    ///
    /// - Returns: False if it is kept.
    package mutating func apply(
        _ reply: NodeReply, to table: inout EdgeTable, now: MonotonicTime
    ) -> Bool {
        guard case .pod(let index, let pod?) = reply else {
            table.apply(reply)
            return true
        }
        // A pod that nobody knew is no change.
        if let known = table.pod(behind: index), known != pod, !takes(index, now: now) {
            waitingPods[index] = pod
            podsDueAt = min(podsDueAt, now + Self.delay)
            return false
        }
        waitingPods[index] = nil
        table.apply(reply)
        return true
    }

    /// Shows what a bridge has learned behind some ports, or keeps it until `dueAt`.
    ///
    /// - Returns: False if it is kept.
    package mutating func show(_ ports: Set<UInt32>, in table: inout EdgeTable, now: MonotonicTime)
        -> Bool
    {
        // One port within its budget is enough: others are not to wait for a pod that floods.
        let allowed = ports.filter { takes($0, now: now) }
        guard allowed.isEmpty, macsDueAt != .distantFuture || !ports.isEmpty else {
            macsDueAt = .distantFuture
            table.showForwarding()
            return true
        }
        macsDueAt = min(macsDueAt, now + Self.macDelay)
        return ports.isEmpty
    }

    /// Applies everything that waits, if it is due.
    package mutating func applyDue(to table: inout EdgeTable, now: MonotonicTime) {
        if now >= macsDueAt {
            table.showForwarding()
            macsDueAt = .distantFuture
        }
        guard now >= podsDueAt else { return }
        // What another pod has had behind the same index is of no use.
        for (index, pod) in waitingPods where table.pod(behind: index) != nil {
            table.set(pod, behind: index)
        }
        (waitingPods, podsDueAt) = ([:], .distantFuture)
        usedUntil = usedUntil.filter { $0.value > now }
    }

    /// Takes one change from a pod's budget, if there is one left.
    private mutating func takes(_ index: UInt32, now: MonotonicTime) -> Bool {
        let until = max(usedUntil[index] ?? now, now) + Self.changeInterval
        guard until - now <= Self.changeInterval * Self.changeCountMax else { return false }
        usedUntil[index] = until
        return true
    }
}
