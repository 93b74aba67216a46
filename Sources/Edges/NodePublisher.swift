package import Settings
package import Addressing
package import Observation

import Linux
import Synchronization

/// What captures have to know of the node, always as of now, and who is to be told when it changes.
package final class NodePublisher: Sendable {
    private let settings: Settings
    private let state: Mutex<State>

    private struct State {
        var node: Node
        var sensors = SensorTable()
        var snapshot: Snapshot
        /// Events to raise, by their numbers.
        var listeners: Set<CInt> = []
    }

    /// The node as a capture wants it.
    package struct Snapshot: Sendable {
        /// Grows with each change.
        package let version: Int
        package let places: [Edge]
        package let rule: Rule
    }

    package init(_ settings: Settings, node: Node) {
        self.settings = settings
        state = Mutex(
            State(
                node: node,
                snapshot: Self.snapshot(of: node, SensorTable(), settings, version: 1)))
    }

    private static func snapshot(
        of node: Node, _ sensors: SensorTable, _ settings: Settings, version: Int
    ) -> Snapshot {
        var addressPlan = node.addressPlan(settings)
        addressPlan.sensors = sensors.all
        return Snapshot(
            version: version, places: node.places,
            rule: Rule(addressPlan, deduplicates: settings.deduplicates))
    }

    package var node: Node { state.withLock { $0.node } }

    /// How the pods that are known and the pod networks do not go together, if they do not.
    package var mismatch: PodNetworkMismatch? { PodNetworkMismatch(node, settings.podNetworks) }

    package var snapshot: Snapshot { state.withLock { $0.snapshot } }

    /// Says how the node is now.
    package func publish(_ node: Node) {
        state.withLock { state in
            guard node != state.node else { return }
            state.node = node
            renew(&state)
        }
    }

    /// Says where a sensor is, so that its feed is not reported.
    package func add(_ addresses: [IPAddress], of sensor: SensorName) {
        state.withLock { state in
            if state.sensors.add(addresses, of: sensor) { renew(&state) }
        }
    }

    /// The same for a client that has dialled the agent, for the length of its session.
    package func addClient(_ address: IPAddress) {
        state.withLock { if $0.sensors.addClient(address) { renew(&$0) } }
    }

    package func removeClient(_ address: IPAddress) {
        state.withLock { if $0.sensors.removeClient(address) { renew(&$0) } }
    }

    private func renew(_ state: inout State) {
        let snapshot = Self.snapshot(
            of: state.node, state.sensors, settings, version: state.snapshot.version + 1)
        // A pod's name, for one, is nothing to a capture.
        guard snapshot.places != state.snapshot.places || snapshot.rule != state.snapshot.rule
        else { return }
        state.snapshot = snapshot
        for listener in state.listeners { Event.raise(listener) }
    }

    /// Has an event raised with each change, until it is taken off the list; which its owner does
    /// before closing it.
    package func subscribe(_ listener: CInt) {
        state.withLock { _ = $0.listeners.insert(listener) }
    }

    package func unsubscribe(_ listener: CInt) {
        state.withLock { _ = $0.listeners.remove(listener) }
    }
}
