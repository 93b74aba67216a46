/// The proof that packets reach pods past the host's ends of their pairs, from two readings of counters.
///
/// What was missed before the first reading says nothing: counters differ for many reasons, such as an
/// interface that was down. What is missed between two readings does.
package struct BypassProof: Sendable {
    /// The counts at the last reading, by the incarnations of edges.
    private var last: [UInt64: (missed: UInt64, carried: UInt64)] = [:]

    /// The time between two readings.
    package static let interval = Duration.seconds(10)
    /// The time between two readings where a proof changes nothing.
    package static let idleInterval = Duration.seconds(60)
    /// The fewest packets that prove something, if they were missed between two readings.
    static let missedCountMin: UInt64 = 10
    /// The smallest part of the pod's packets: one of 20, which chance does not bring about.
    static let missedPart: UInt64 = 20

    /// A pair of whose packets some have bypassed the host's end.
    package struct Bypass: Equatable, Sendable {
        /// The edge's incarnation.
        package let incarnation: UInt64
        /// The number of packets that were missed.
        package let missedCount: UInt64
        /// The number of packets of the pod in the same time.
        package let carriedCount: UInt64
    }

    /// Whether there was a reading of any pair.
    package var hasReading: Bool { !last.isEmpty }

    /// A proof that has seen nothing.
    package init() {}

    /// Takes a reading, by the incarnations of edges.
    ///
    /// - Returns: The pairs that are proven to be bypassed, in order.
    package mutating func record(_ readings: [UInt64: PairCounters]) -> [Bypass] {
        defer { last = readings.mapValues { ($0.missedCount, $0.carriedCount) } }
        return readings.compactMap { incarnation, now in
            guard let before = last[incarnation], now.missedCount > before.missed,
                now.carriedCount > before.carried
            else { return nil }
            let bypass = Bypass(
                incarnation: incarnation, missedCount: now.missedCount - before.missed,
                carriedCount: now.carriedCount - before.carried)
            let isMuch =
                bypass.missedCount >= Self.missedCountMin
                && bypass.missedCount >= bypass.carriedCount / Self.missedPart
            return isMuch ? bypass : nil
        }.sorted { $0.incarnation < $1.incarnation }
    }
}
