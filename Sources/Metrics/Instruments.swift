import Synchronization

/// How much there is of something now. Any thread may read it.
package final class Gauge: Sendable {
    private let count = Atomic<Int>(0)

    package init() {}

    package var value: Int { count.load(ordering: .relaxed) }

    package func set(_ value: Int) { count.store(value, ordering: .relaxed) }

    package func add(_ difference: Int) { count.add(difference, ordering: .relaxed) }
}

/// How often something has happened. It happens seldom, and only on the control side.
package final class Counter: Sendable {
    private let count = Atomic<UInt64>(0)

    package init() {}

    package var value: UInt64 { count.load(ordering: .relaxed) }

    package func add() { count.add(1, ordering: .relaxed) }
}

/// Whether something is so.
package final class Flag: Sendable {
    private let state: Atomic<Bool>

    package init(_ isSet: Bool) { state = Atomic(isSet) }

    package var isSet: Bool { state.load(ordering: .relaxed) }

    package func set(_ isSet: Bool) { state.store(isSet, ordering: .relaxed) }
}
