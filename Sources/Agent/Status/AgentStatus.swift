package import Edges
import Forwarding
import Linux
package import Metrics
package import Settings
import Synchronization
import Taps
import Time

/// The state of an agent: who is connected, what was counted, which loops run.
///
/// The code that changes something records it here. The pages of the endpoint and the summary in the log are
/// made from it.
package final class AgentStatus: Sendable {
    /// The loops that have to keep running.
    package let watchdog = Watchdog()
    /// The state of the node's network.
    package let node: NodeStatus
    /// Each sensor of the settings once, in their order.
    let sensors: [PeerStatus]
    /// All clients together; nil if the agent does not listen for any.
    let clients: PeerStatus?
    /// Whether the agent listens for clients now.
    let isListening = Flag(false)
    /// Clients that were sent away because of their address, or because there were too many.
    let clientsRefused = ReasonCounters<ClientRefusal>()
    /// Clients that were sent away for others.
    let clientsEvicted = ReasonCounters<ClientEviction>()
    /// Logins with a wrong name or password, or refused untried.
    let loginsRefused = ReasonCounters<LoginOutcome>()
    /// Sockets inside pods that could not be opened.
    let tapsFailed = ReasonCounters<PodSocketFailure.Reason>()
    /// TLS handshakes of control connections that failed.
    let handshakesFailed = Counter()
    /// How often the node has begun to feed another sensor, where it feeds one of several.
    let sensorChanges = Counter()
    /// Whether a newer agent of the node is there, and does not forward yet.
    let isAccompanied = Flag(false)
    /// How often this agent has taken over from an older one of the node.
    let handovers = Counter()
    /// How often a newer agent of the node was gone, before or after it had taken over, and this one goes on.
    let handoversUndone = Counter()
    /// The hash of the revision of the older agent from which this one has taken over, while it is there; 0
    /// for none.
    let olderRevisionHash = Mutex<UInt64>(0)
    /// Whether a newer agent of the node has taken over.
    let isCeded = Flag(false)
    /// Whether the agent is about to end.
    let isStopping = Flag(false)

    /// Creates the state of an agent that has done nothing yet.
    package init(_ settings: Settings) {
        node = NodeStatus(watchdog)
        sensors = settings.sensors.map { PeerStatus($0.description) }
        clients = settings.passive.map { _ in PeerStatus(PeerStatus.clients) }
    }

    /// The sensors, and then the clients if there may be any.
    var peers: [PeerStatus] { sensors + [clients].compactMap { $0 } }

    /// The state of a sensor.
    func sensor(_ name: SensorName) -> PeerStatus {
        sensors.first { $0.name == name.description } ?? PeerStatus(name.description)
    }

    /// Forgets the names of edges that are gone.
    func keep(_ incarnations: Set<UInt64>) {
        let kept = incarnations.union([SharedRing.incarnation])
        for peer in peers { peer.edgeMetrics.keep(kept) }
    }

    /// The counts of all sensors and clients since the agent started.
    var totals: CaptureCounts { peers.reduce(into: CaptureCounts()) { $0 += $1.totals } }

    /// The longest wait for the kernel's counts.
    ///
    /// A forwarder that is busy is asked again next time.
    private static let refreshMax = Duration.milliseconds(50)

    /// Updates the counters of all captures with the kernel's, as far as that takes 50 ms at most.
    func refreshCounts() {
        let captures = peers.flatMap(\.captures)
        guard !captures.isEmpty, let done = try? Mailbox<Void>(countMax: captures.count) else {
            return
        }
        let deadline = MonotonicTime.now + Self.refreshMax
        let askedCount = captures.count { $0.count(then: { done.send(()) }) }
        _ = done.take(atLeast: askedCount, waitingUntil: deadline)
    }
}
