package import Addressing
import Linux
package import Observation
package import Settings
import Synchronization

/// Publishes the current node to captures, and notifies them when it changes.
package final class NodePublisher: Sendable {
    /// What captures have seen that the node does not know.
    package let sightings = Sightings()
    private let settings: RuleSettings
    private let state: Mutex<State>

    private struct State {
        var node: Node
        var sensors = SensorTable()
        var snapshot: Snapshot
        /// Events to raise, by their descriptors.
        var subscribers: Set<CInt> = []
    }

    /// The node as a capture needs it.
    package struct Snapshot: Sendable {
        /// A number that grows with each change.
        package let version: Int
        /// The edges to capture at.
        package let edges: [Edge]
        /// The rule with the addresses that are known now.
        package let rule: Rule
        /// The pods' addresses at these edges.
        package let localEdges: LocalEdges
    }

    /// Creates a publisher of a node, without sensors' addresses.
    package init(_ settings: RuleSettings, node: Node) {
        self.settings = settings
        state = Mutex(
            State(
                node: node,
                snapshot: Self.snapshot(of: node, SensorTable(), settings, version: 1)))
    }

    private static func snapshot(
        of node: Node, _ sensors: SensorTable, _ settings: RuleSettings, version: Int
    ) -> Snapshot {
        var addressPlan = node.addressPlan(settings)
        addressPlan.sensors = sensors.all
        return Snapshot(
            version: version, edges: node.edges,
            rule: Rule(addressPlan, deduplicates: settings.deduplicates),
            localEdges: node.localEdges)
    }

    /// The node as it was published last.
    package var node: Node { state.withLock { $0.node } }

    /// The mismatch between the known pods and the pod networks, if there is one.
    package var mismatch: PodNetworkMismatch? { PodNetworkMismatch(node, settings.podNetworks) }

    /// The snapshot as of now.
    package var snapshot: Snapshot { state.withLock { $0.snapshot } }

    /// Publishes the node as it is now.
    package func publish(_ node: Node) {
        state.withLock { state in
            guard node != state.node else { return }
            state.node = node
            renew(&state)
        }
    }

    /// Adds the addresses of a sensor, so that its feed is not reported.
    package func add(_ addresses: [IPAddress], of sensor: SensorName) {
        state.withLock { state in
            if state.sensors.add(addresses, of: sensor) { renew(&state) }
        }
    }

    /// Adds the address of a client that has dialled the agent, for as long as its session lasts.
    package func addClient(_ address: IPAddress) {
        state.withLock { if $0.sensors.addClient(address) { renew(&$0) } }
    }

    /// Removes the address of a client whose session has ended.
    package func removeClient(_ address: IPAddress) {
        state.withLock { if $0.sensors.removeClient(address) { renew(&$0) } }
    }

    private func renew(_ state: inout State) {
        let snapshot = Self.snapshot(
            of: state.node, state.sensors, settings, version: state.snapshot.version + 1)
        // Captures do not need every change of a node: a pod's name is none of theirs.
        guard
            snapshot.edges != state.snapshot.edges || snapshot.rule != state.snapshot.rule
                || snapshot.localEdges != state.snapshot.localEdges
        else { return }
        state.snapshot = snapshot
        for subscriber in state.subscribers { Event.raise(subscriber) }
    }

    /// Raises an event at each change from now on, until `unsubscribe`.
    ///
    /// - Parameter event: The event's descriptor. Its owner unsubscribes before it closes it.
    package func subscribe(_ event: CInt) {
        state.withLock { _ = $0.subscribers.insert(event) }
    }

    /// Ends a subscription.
    package func unsubscribe(_ event: CInt) {
        state.withLock { _ = $0.subscribers.remove(event) }
    }
}
