import Linux
import Synchronization
import Time

/// What a sensor's dialer is to do, as the other thread says that chooses sensors.
final class SensorOrders: Sendable {
    private let state: Mutex<State>
    /// Raised while the sensor is not to be served: its session ends then.
    private let revocation: Event
    /// Raised by each change.
    private let change: Event

    /// The time between two looks whether a sensor has come back.
    static let probeInterval = Duration.seconds(10)
    /// After feeding for this long the next failure starts a new back-off.
    static let goodTime = Duration.seconds(10)

    private struct State {
        var order: SensorElection.Order
        var isPresent = false
    }

    /// Creates orders, the first of which stands at once.
    ///
    /// - Throws: The kernel's reason if there is no descriptor left.
    init(_ order: SensorElection.Order) throws(SystemError) {
        revocation = try Event()
        change = try Event()
        state = Mutex(State(order: order))
        if order != .serve { revocation.raise() }
    }

    /// The order that stands.
    var order: SensorElection.Order { state.withLock { $0.order } }

    /// Whether the last probe has reached the sensor.
    var isPresent: Bool { state.withLock { $0.isPresent } }

    /// The descriptor, for a session's poll set: readable when the session is to end.
    var revocationDescriptor: CInt { revocation.fileDescriptor }

    /// Gives an order.
    func give(_ order: SensorElection.Order) {
        state.withLock { state in
            guard state.order != order else { return }
            state.order = order
            // What was seen before it was looked at anew says nothing.
            state.isPresent = false
            if order == .serve { revocation.lower() } else { revocation.raise() }
            change.raise()
        }
    }

    /// Records what a probe has found.
    func recordProbe(isPresent: Bool) {
        state.withLock { if $0.order == .probe { $0.isPresent = isPresent } }
    }

    /// Waits until the order changes, the agent stops, or a time is over.
    ///
    /// - Parameters:
    ///   - time: The longest wait; nil for any.
    ///   - stop: The agent's signal.
    /// - Returns: Whether the order has changed.
    func wait(for time: Duration?, or stop: StopSignal) -> Bool {
        let ready = try? poll(
            [(change.fileDescriptor, .readable), (stop.fileDescriptor, .readable)],
            until: time.map { .now + $0 })
        guard let ready, ready[0].contains(.readable) else { return false }
        change.lower()
        return true
    }
}
