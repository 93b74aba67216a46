package import Synchronization

/// What became of the frames that a ring's program let through: of one edge, or of a whole capture.
///
/// Every frame has one fate, and only one, so they add up to `matched` when nothing is on its way any
/// more. Every count only grows. A frame that is cut into segments has the fate of the luckiest of them.
package final class FrameCounters: Sendable {
    /// Let through by the program, those that the ring then had no room for among them. The kernel
    /// counts them; they come in here every few seconds, when a client asks, and at the end.
    package let matched = Atomic<UInt64>(0)
    /// Put into the send queue.
    package let forwarded = Atomic<UInt64>(0)
    /// Left to user space, and there the rule gave them to another edge.
    package let refused = Atomic<UInt64>(0)
    /// Refused by the client's filter, in user space.
    package let filtered = Atomic<UInt64>(0)
    /// Left out by the client's sampling.
    package let sampledOut = Atomic<UInt64>(0)
    /// Left out because of the limit of the feed.
    package let limited = Atomic<UInt64>(0)
    /// Lost because every block of the ring was waiting to be read.
    package let droppedByRing = Atomic<UInt64>(0)
    /// Lost because the send queue had no room.
    package let droppedByQueue = Atomic<UInt64>(0)
    /// In a ring, or held for their datagram's first fragment, when the capture ended.
    package let abandoned = Atomic<UInt64>(0)

    package init() {}

    /// The counts at a moment. While the capture runs they are from moments close to each other.
    package struct Counts: Equatable, Sendable {
        package var matched: UInt64 = 0
        package var forwarded: UInt64 = 0
        package var refused: UInt64 = 0
        package var filtered: UInt64 = 0
        package var sampledOut: UInt64 = 0
        package var limited: UInt64 = 0
        package var droppedByRing: UInt64 = 0
        package var droppedByQueue: UInt64 = 0
        package var abandoned: UInt64 = 0

        package init() {}

        /// All that can become of a frame that was matched, by the names that the log and metrics use.
        package var fates: [(name: String, count: UInt64)] {
            [
                ("forwarded", forwarded), ("refused", refused), ("filtered", filtered),
                ("sampled_out", sampledOut), ("limited", limited),
                ("dropped_by_ring", droppedByRing), ("dropped_by_queue", droppedByQueue),
                ("abandoned", abandoned),
            ]
        }

        /// All whose fate is known.
        package var settled: UInt64 { fates.reduce(0) { $0 + $1.count } }

        /// How many are on their way: none when the capture has ended, or the account is wrong. Fewer
        /// than none where the kernel has not been asked for a while.
        package var inFlight: Int64 { Int64(matched) - Int64(settled) }
    }

    package var counts: Counts {
        // What frames become is read before how many there were, so that none seems to be missing.
        var counts = Counts()
        counts.forwarded = forwarded.load(ordering: .relaxed)
        counts.refused = refused.load(ordering: .relaxed)
        counts.filtered = filtered.load(ordering: .relaxed)
        counts.sampledOut = sampledOut.load(ordering: .relaxed)
        counts.limited = limited.load(ordering: .relaxed)
        counts.droppedByRing = droppedByRing.load(ordering: .relaxed)
        counts.droppedByQueue = droppedByQueue.load(ordering: .relaxed)
        counts.abandoned = abandoned.load(ordering: .relaxed)
        counts.matched = matched.load(ordering: .relaxed)
        return counts
    }
}

/// The account of an edge. Edges that share one ring share one account.
package struct EdgeCounters: Sendable {
    /// The interface's, as it was when the edge was first captured.
    package let name: String
    package let frames: FrameCounters
}

extension FrameCounters {
    /// Adds what happened to the packets of a block.
    func add(_ tally: Tally) {
        CaptureCounters.add(tally.packetCount - tally.surplus.packetCount, to: forwarded)
        CaptureCounters.add(tally.refusedCount, to: refused)
        CaptureCounters.add(tally.filteredCount, to: filtered)
        CaptureCounters.add(tally.sampledOutCount - tally.surplus.sampledOutCount, to: sampledOut)
        CaptureCounters.add(tally.limitedCount - tally.surplus.limitedCount, to: limited)
        CaptureCounters.add(tally.droppedCount - tally.surplus.droppedCount, to: droppedByQueue)
    }
}

extension FrameCounters.Counts {
    package static func += (total: inout Self, other: Self) {
        total.matched += other.matched
        total.forwarded += other.forwarded
        total.refused += other.refused
        total.filtered += other.filtered
        total.sampledOut += other.sampledOut
        total.limited += other.limited
        total.droppedByRing += other.droppedByRing
        total.droppedByQueue += other.droppedByQueue
        total.abandoned += other.abandoned
    }
}
