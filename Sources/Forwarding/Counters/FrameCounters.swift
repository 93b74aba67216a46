import Synchronization

/// Counters of the frames that a ring's program let through: of one edge, or of a whole capture.
///
/// Every frame has one fate, so the fates add up to `matched` when nothing is on its way any more.
/// Every count only grows. A frame that is cut into segments has the fate of the luckiest of them.
package final class FrameCounters: Sendable {
    private let matched = Atomic<UInt64>(0)
    private let fates: [12 of Atomic<UInt64>] = [12 of Atomic<UInt64>] { _ in Atomic(0) }
    private let requests: [9 of Atomic<UInt64>] = [9 of Atomic<UInt64>] { _ in Atomic(0) }

    package init() {
        precondition(fates.count == Fate.allCases.count)
        precondition(requests.count == RequestMetric.allCases.count)
    }

    /// Adds frames whose fate is now known.
    @inline(__always)
    package func add(_ count: Int, to fate: Fate) {
        if count > 0 { fates[fate.rawValue].wrappingAdd(UInt64(count), ordering: .relaxed) }
    }

    /// Counts requests, whose frames have a fate like all others.
    package func record(_ metric: RequestMetric, _ count: Int = 1) {
        if count > 0 { requests[metric.rawValue].wrappingAdd(UInt64(count), ordering: .relaxed) }
    }

    /// Adds frames that the program let through, including those that the ring had no room for.
    ///
    /// The kernel counts them. It is asked every few seconds, when a client asks, and at the end.
    package func add(matched count: Int) {
        if count > 0 { matched.wrappingAdd(UInt64(count), ordering: .relaxed) }
    }

    /// The counts now.
    ///
    /// While the capture runs they are from moments close to each other.
    package var counts: FrameCounts {
        let fates = Fate.allCases.map { self.fates[$0.rawValue].load(ordering: .relaxed) }
        let requests = RequestMetric.allCases.map {
            self.requests[$0.rawValue].load(ordering: .relaxed)
        }
        return FrameCounts(kernelMatched: matched.load(ordering: .relaxed), fates, requests)
    }
}

/// Counts of frames at a moment, by fate.
package struct FrameCounts: Equatable, Sendable {
    /// Frames that a ring's program let through, as far as the kernel has been asked.
    private var kernelMatched: UInt64
    /// By the raw value of `Fate`.
    private var fates: [UInt64]
    /// By the raw value of `RequestMetric`.
    private var requests: [UInt64]

    package init() {
        self.init(
            kernelMatched: 0, Fate.allCases.map { _ in 0 }, RequestMetric.allCases.map { _ in 0 })
    }

    fileprivate init(kernelMatched: UInt64, _ fates: [UInt64], _ requests: [UInt64]) {
        (self.kernelMatched, self.fates, self.requests) = (kernelMatched, fates, requests)
    }

    /// The counts of a session that has joined a capture, from its own ones and the capture's.
    ///
    /// What was on its way when the session joined has no fate until later, so it counts as matched, and
    /// requests that waited count as held.
    ///
    /// - Parameters:
    ///   - own: The fates that each session decides.
    ///   - common: All frames of the capture.
    ///   - base: What the capture had counted when the session joined.
    init(_ own: FrameCounts, sharing common: FrameCounts, since base: FrameCounts) {
        self = own
        kernelMatched += common.matched - base.accounted
        for fate in Fate.allCases where fate.isShared {
            fates[fate.rawValue] += common[fate] - base[fate]
        }
        for index in requests.indices {
            requests[index] += common.requests[index] - base.requests[index]
        }
        requests[RequestMetric.held.rawValue] += base.waitingRequestCount
    }

    /// Gives the frames that are still on their way the fate of those that a capture has abandoned.
    ///
    /// The requests that wait are among them.
    mutating func abandonRest() {
        let accounted = accounted
        fates[Fate.abandoned.rawValue] += matched - accounted
        requests[RequestMetric.undecided.rawValue] += waitingRequestCount
    }

    /// Requests that are held and have no fate yet.
    ///
    /// Fates are counted at once, and what is held at the end of a block, so it may be fewer meanwhile.
    private var waitingRequestCount: UInt64 {
        let fates = [RequestMetric.answered, .unanswered, .leftToSender, .undecided]
            .reduce(0) { $0 + self[$1] }
        return self[.held] - min(self[.held], fates)
    }

    package subscript(fate: Fate) -> UInt64 { fates[fate.rawValue] }

    package subscript(metric: RequestMetric) -> UInt64 { requests[metric.rawValue] }

    /// Frames whose fate is known.
    package var accounted: UInt64 { fates.reduce(0, +) }

    /// Frames that a ring's program let through, never fewer than those whose fate is known.
    ///
    /// Frames are read before the kernel is asked how many there were.
    package var matched: UInt64 { max(kernelMatched, accounted) }

    /// The kernel's count above the frames whose fate is known: 0 at the end of an edge or a capture,
    /// or the account is wrong.
    package var imbalance: Int64 { Int64(kernelMatched) - Int64(accounted) }

    package static func += (total: inout Self, other: Self) {
        total.kernelMatched += other.kernelMatched
        for index in total.fates.indices { total.fates[index] += other.fates[index] }
        for index in total.requests.indices { total.requests[index] += other.requests[index] }
    }
}
