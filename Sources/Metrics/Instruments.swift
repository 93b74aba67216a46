import Synchronization

/// A number that goes up and down, for events of the control side.
///
/// Any thread may use it.
package final class Gauge: Sendable {
    private let count = Atomic<Int>(0)

    /// Creates a gauge that stands at 0.
    package init() {}

    /// The number now.
    package var value: Int { count.load(ordering: .relaxed) }

    /// Sets the number.
    package func set(_ value: Int) { count.store(value, ordering: .relaxed) }

    /// Adds to the number, or takes from it.
    package func add(_ difference: Int) { count.add(difference, ordering: .relaxed) }
}

/// A number that only grows, for events of the control side.
///
/// Any thread may use it.
package final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    /// Creates a counter that stands at 0.
    package init() {}

    /// The number of events so far.
    package var value: UInt64 { count.load(ordering: .relaxed) }

    /// Counts one event.
    package func add() { count.add(1, ordering: .relaxed) }

    /// Adds a number.
    package func add(_ number: Int) {
        count.add(UInt64(clamping: number), ordering: .relaxed)
    }
}

/// A state that is true or false.
///
/// Any thread may use it.
package final class Flag: Sendable {
    private let state: Atomic<Bool>

    /// Creates a flag in a state.
    package init(_ isSet: Bool) { state = Atomic(isSet) }

    /// The state now.
    package var isSet: Bool { state.load(ordering: .relaxed) }

    /// Sets the state.
    package func set(_ isSet: Bool) { state.store(isSet, ordering: .relaxed) }
}
