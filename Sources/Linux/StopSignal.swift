import Synchronization
import Time

/// A signal to stop, which is given once and which any number of threads wait for.
package final class StopSignal: Sendable {
    /// The event below, for calls that wait for a descriptor of their own and can be cancelled.
    package let event: Event
    private let state = Atomic(false)

    /// Creates a signal that has not been given.
    package init() throws(SystemError) { event = try Event() }

    /// The descriptor, for a poll set: readable once the signal is given.
    package var fileDescriptor: CInt { event.fileDescriptor }

    /// Whether the signal is given.
    package var isGiven: Bool { state.load(ordering: .acquiring) }

    /// Gives the signal.
    ///
    /// Any thread may do so, any number of times.
    package func give() {
        state.store(true, ordering: .releasing)
        event.raise()
    }

    /// Waits until the signal is given or a duration is over.
    ///
    /// - Returns: Whether the signal is given, or cannot be waited for.
    package func wait(for duration: Duration) -> Bool {
        let ready = try? poll([(fileDescriptor, .readable)], until: .now + duration)
        return ready?[0].contains(.readable) ?? true
    }
}
