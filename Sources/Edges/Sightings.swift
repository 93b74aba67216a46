package import Addressing
import Linux
import Synchronization

/// What captures have seen of pods that the node does not know, for `NodeMonitor` to look into.
///
/// A pod can change its addresses without an event that the node receives. What it sends, or is
/// sent, shows it.
package final class Sightings: Sendable {
    private let state = Mutex(State())

    /// The most sources that wait for the monitor.
    private static let senderCountMax = 256

    private struct State {
        /// The edges that were passed by frames to or from an unknown MAC address.
        var edges: Set<UInt32> = []
        /// Sources that are not known as anybody's, and the edges of the pods that sent from them.
        var senders: [IPAddress: UInt32] = [:]
        /// The event to raise, by its descriptor; -1 while no monitor runs.
        var event: CInt = -1

        /// Whether nothing waits, so that the monitor has to be woken.
        var isEmpty: Bool { edges.isEmpty && senders.isEmpty }
    }

    /// Creates an empty list.
    package init() {}

    /// Records that a frame to or from an unknown MAC address has passed an edge.
    package func recordUnknownMAC(at interfaceIndex: UInt32) {
        state.withLock { state in
            if state.isEmpty { Self.wake(state) }
            state.edges.insert(interfaceIndex)
        }
    }

    /// Records that a pod has sent from an address that is not known as anybody's.
    package func recordSender(_ address: IPAddress, at interfaceIndex: UInt32) {
        state.withLock { state in
            guard state.senders.count < Self.senderCountMax else { return }
            if state.isEmpty { Self.wake(state) }
            state.senders[address] = interfaceIndex
        }
    }

    private static func wake(_ state: State) {
        if state.event >= 0 { Event.raise(state.event) }
    }

    /// Raises an event at each sighting from now on; -1 for none.
    func raise(_ event: CInt) {
        state.withLock { state in
            state.event = event
            if !state.isEmpty { Self.wake(state) }
        }
    }

    /// Takes all sightings since the last call.
    func take() -> (edges: Set<UInt32>, senders: [IPAddress: UInt32]) {
        state.withLock { state in
            defer { (state.edges, state.senders) = ([], [:]) }
            return (state.edges, state.senders)
        }
    }
}
