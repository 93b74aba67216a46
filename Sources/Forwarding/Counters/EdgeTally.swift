/// The counters of an edge's frames: what all sessions have in common, and what each has of its own.
///
/// It belongs to the forwarder's thread.
package final class EdgeTally {
    /// What is counted once for all sessions.
    ///
    /// A frame that is reported counts as forwarded.
    let common = FrameCounters()
    /// What each session counts itself, in the order of the capture's outlets.
    var own: [FrameCounters]

    /// Begins to count an edge for a number of sessions.
    package init(sessionCount: Int = 0) {
        own = (0..<sessionCount).map { _ in FrameCounters() }
    }
}

/// What is counted of written packets until they are in the queues of sessions.
///
/// It keeps its memory, so that adding allocates nothing once a block has needed as much.
struct Ledger {
    /// The counts, by the edges at which the frames were seen.
    private(set) var entries: [(tally: EdgeTally, counts: BlockCounts)] = []
    /// The number of packets that were written.
    private(set) var packetCount = 0

    /// Adds counts of an edge.
    mutating func add(_ counts: borrowing BlockCounts, of tally: EdgeTally) {
        packetCount += counts.packetCount
        // Mostly it is the last one, and there are never more than edges.
        for index in entries.indices.reversed() where entries[index].tally === tally {
            return entries[index].counts.addOwn(counts)
        }
        entries.append((tally, copy counts))
    }

    /// Forgets everything.
    mutating func clear() {
        entries.removeAll(keepingCapacity: true)
        packetCount = 0
    }
}
