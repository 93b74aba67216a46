import Metrics

/// A counter for each of a few reasons.
///
/// Any thread may use it.
final class ReasonCounters<Reason: CaseIterable & Hashable & Sendable>: Sendable {
    private let counters: [Reason: Counter]

    /// Creates counters that stand at 0.
    init() {
        counters = Dictionary(uniqueKeysWithValues: Reason.allCases.map { ($0, Counter()) })
    }

    /// Counts one event.
    func add(_ reason: Reason) { counters[reason]?.add() }

    /// The number of events so far.
    func value(_ reason: Reason) -> UInt64 { counters[reason]?.value ?? 0 }
}
