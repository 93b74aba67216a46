import Linux
import Synchronization

/// What an agent knows of itself: who is connected, what has been counted, which loops turn. Whoever
/// does something says so here, and the pages of the endpoint are made from it.
package final class AgentStatus: Sendable {
    package let pulses = Pulses()
    package let node: NodeStatus
    /// Each sensor of the settings once, in their order.
    let sensors: [PeerStatus]
    let clients: PeerStatus?
    /// Whether clients are listened for.
    let isListening = Condition(false)
    /// Clients that were sent away because of their address, or because there were too many.
    let clientsRefused = Tick()
    /// Wrong names and passwords.
    let loginsRefused = Tick()
    /// TLS handshakes of control connections that have failed.
    let handshakesFailed = Tick()
    /// Whether the agent is about to end.
    let isStopping = Condition(false)

    package init(_ settings: Settings) {
        node = NodeStatus(pulses)
        var names: Set<String> = []
        sensors = settings.sensors.map(\.description).filter { names.insert($0).inserted }
            .map { PeerStatus($0) }
        clients = settings.passive.map { _ in PeerStatus(PeerStatus.clients) }
    }

    /// The sensors, and then the clients if there may be any.
    var peers: [PeerStatus] { sensors + [clients].compactMap { $0 } }

    func sensor(_ name: SensorName) -> PeerStatus {
        sensors.first { $0.name == name.description } ?? PeerStatus(name.description)
    }

    /// Takes note of which edges there are.
    func keep(_ lives: Set<UInt64>) { for peer in peers { peer.ledger.keep(lives) } }

    /// The sums over all sensors and clients, since the agent began.
    var totals: CaptureTotals { peers.reduce(into: CaptureTotals()) { $0 += $1.totals } }

    /// How long the kernel's counts are waited for: a forwarder with its hands full is asked again the
    /// next time.
    private static let countMilliseconds: CInt = 50

    /// Brings the counters of all captures up to date with the kernel's, as far as that can be had within
    /// 50 ms.
    func count() {
        let captures = peers.flatMap(\.captures)
        guard !captures.isEmpty, let gathering = try? Gathering(captures.count) else { return }
        for capture in captures where !capture.count(then: { gathering.isOneLess() }) {
            gathering.isOneLess()
        }
        gathering.wait(milliseconds: Self.countMilliseconds)
    }
}

/// How the agent keeps up with its node.
package final class NodeStatus: Sendable {
    /// Whether all events since the last look at everything have been taken in.
    let isInStep = Condition(true)
    /// How often events were lost and everything was read anew.
    package let resyncs = Tick()
    /// How often following the node failed and was begun anew.
    let failures = Tick()
    /// Where the threads that follow it say that they turn.
    let pulses: Pulses

    package init(_ pulses: Pulses = Pulses()) { self.pulses = pulses }
}

/// Waits until some others have done something.
private final class Gathering: Sendable {
    private let restCount: Atomic<Int>
    private let isComplete: Event

    init(_ count: Int) throws(SystemError) {
        let isComplete = try Event()
        restCount = Atomic(count)
        self.isComplete = isComplete
    }

    func isOneLess() {
        if restCount.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
            isComplete.raise()
        }
    }

    func wait(milliseconds: CInt) {
        _ = try? poll([(isComplete.fileDescriptor, .readable)], milliseconds: milliseconds)
    }
}
