package import Time

/// The times at which pods are asked about again.
///
/// Addresses inside a pod change without an event in the node's namespace. A pod is therefore asked
/// about again when its network has had time to be set up, and all pods are now and then.
package struct RefreshSchedule: Sendable {
    /// The interfaces whose pods to ask about again: a queue for each delay, in the order of time.
    private var queues = Array(
        repeating: [(dueAt: MonotonicTime, index: UInt32)](), count: delays.count)
    private var pollAt: MonotonicTime
    /// When events from inside pods are read again.
    private var podEventsAt = MonotonicTime.zero

    /// The delays after an event of an edge, after which its pod is asked about again.
    package static let delays: [Duration] = [.milliseconds(200), .seconds(1)]
    /// How often all interfaces are listed, and all pods asked about.
    package static let pollInterval = Duration.seconds(30)
    /// How often events from inside pods are read.
    ///
    /// A pod that may change its own addresses can do so without end; that must not load the node.
    private static let podEventInterval = Duration.milliseconds(10)
    /// The most entries of a queue, so that a storm of events uses little memory.
    ///
    /// The poll does the rest.
    private static let entryCountMax = 5000

    /// A schedule whose first poll is one interval away.
    package init(now: MonotonicTime) { pollAt = now + Self.pollInterval }

    /// Schedules queries about the pods behind some interfaces, which had an event.
    ///
    /// The time is not before that of the last call.
    package mutating func add(_ indexes: [UInt32], now: MonotonicTime) {
        for (queue, delay) in Self.delays.enumerated()
        where queues[queue].count + indexes.count <= Self.entryCountMax {
            queues[queue] += indexes.map { (dueAt: now + delay, index: $0) }
        }
    }

    /// Takes the interfaces whose pods are due, each once.
    package mutating func takeDue(now: MonotonicTime) -> [UInt32] {
        var indexes: Set<UInt32> = []
        for queue in queues.indices {
            let due = queues[queue].prefix { $0.dueAt <= now }
            indexes.formUnion(due.map(\.index))
            queues[queue].removeFirst(due.count)
        }
        return indexes.sorted()
    }

    /// Takes the poll if it is due: true once for each interval.
    package mutating func takePoll(now: MonotonicTime) -> Bool {
        guard now >= pollAt else { return false }
        pollAt = now + Self.pollInterval
        return true
    }

    /// Postpones the next reading of events from inside pods, since they are being read now.
    package mutating func postponePodEvents(now: MonotonicTime) {
        podEventsAt = now + Self.podEventInterval
    }

    /// Whether events from inside pods may be read now.
    package func allowsPodEvents(now: MonotonicTime) -> Bool { now >= podEventsAt }

    /// The next time at which something is due.
    package func dueAt(now: MonotonicTime) -> MonotonicTime {
        let dueAt = queues.compactMap(\.first?.dueAt).reduce(pollAt, min)
        return allowsPodEvents(now: now) ? dueAt : min(dueAt, podEventsAt)
    }
}
