package import Edges
import Forwarding
import Linux
package import Metrics
package import Settings
import Synchronization

/// What an agent knows of itself: who is connected, what has been counted, which loops turn. Whoever
/// does something says so here, and the pages of the endpoint are made from it.
package final class AgentStatus: Sendable {
    package let pulses = Watchdog()
    package let node: NodeStatus
    /// Each sensor of the settings once, in their order.
    let sensors: [PeerStatus]
    let clients: PeerStatus?
    /// Whether clients are listened for.
    let isListening = Flag(false)
    /// Clients that were sent away because of their address, or because there were too many.
    let clientsRefused = Counter()
    /// Wrong names and passwords.
    let loginsRefused = Counter()
    /// TLS handshakes of control connections that have failed.
    let handshakesFailed = Counter()
    /// Whether the agent is about to end.
    let isStopping = Flag(false)

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
    func keep(_ incarnations: Set<UInt64>) {
        for peer in peers { peer.edgeMetrics.keep(incarnations) }
    }

    /// The sums over all sensors and clients, since the agent began.
    var totals: CaptureCounts { peers.reduce(into: CaptureCounts()) { $0 += $1.totals } }

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
