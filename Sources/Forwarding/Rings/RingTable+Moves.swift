import PacketRing
package import Time

/// How many rings move to the other ends of their pairs at a time.
///
/// Until a ring has moved, the new one is not read. The more there are of them, the longer that takes,
/// above all on a busy node.
struct RingMoves {
    /// The most rings that are to be moved next.
    private(set) var countMax = Self.mostCount
    private var hasFailed = false
    /// The rings for which there was no memory at the other ends.
    fileprivate var lacking: [RingSlot] = []

    /// As many as the manager opens at once.
    static let mostCount = 16

    /// Begins with the next rings: with half as many if one of the last has failed, else with twice as
    /// many.
    mutating func beginNext() {
        countMax = hasFailed ? max(1, countMax / 2) : min(Self.mostCount, countMax * 2)
        hasFailed = false
    }

    /// Records that a ring has not moved, since the new one was too small.
    mutating func recordFailure() { hasFailed = true }
}

/// Moving rings to the other ends of their pairs.
extension RingTable {
    /// Takes memory for rings at the other ends of their pairs, where edges are to be captured now.
    ///
    /// It takes a few, and more only when these have moved or failed. If memory is short it takes
    /// fewer. Where a ring was too small for lack of memory, it takes some for smaller rings in the
    /// place of idle ones, so that there is more the next time.
    package mutating func takeOtherEnds(now: MonotonicTime) -> [Change] {
        guard hasOtherEnds(now: now) else { return [] }
        moves.beginNext()
        let waiting = slots.values.filter { $0.canMove(now: now) }
            .sorted { $0.otherEndAt < $1.otherEndAt }
        var changes: [Change] = []
        for slot in waiting.prefix(moves.countMax) {
            var shape = budget.takeForOtherEnd(
                holding: slot.frameByteCountMax, insteadOf: slot.byteCount,
                failureCount: slot.ringFailureCount)
            let isShort = shape == nil
            if isShort {
                guard changes.isEmpty else { break }
                shape = budget.takeRestForOtherEnd(
                    holding: slot.frameByteCountMax, insteadOf: slot.byteCount)
            }
            slot.postponeOtherEnd(now: now)
            let change = shape.flatMap { reserve($0, for: slot, at: slot.wantedTap) }
            if let change { changes.append(change) }
            if shape == nil {
                recordNotMoved(slot, now: now)
                moves.lacking.append(slot)
            }
            if isShort { return slot.notMovedCount > 0 ? changes + shrinkToMove(now) : changes }
        }
        return changes
    }

    /// Takes the rings for which there was no memory at the other ends.
    mutating func takeLacking() -> [RingSlot] {
        defer { moves.lacking = [] }
        return moves.lacking
    }

    /// Takes memory for smaller rings in the place of large ones that are idle, such as those that have
    /// moved and were made large for that.
    private mutating func shrinkToMove(_ now: MonotonicTime) -> [Change] {
        let idle = slots.values.filter {
            now >= $0.pressedAt + Self.idleTime && $0.canBeReplaced
                && $0.byteCount > RingBudget.shrunk(holding: $0.frameByteCountMax).byteCount
        }
        var changes: [Change] = []
        for slot in idle.sorted(by: { $0.byteCount > $1.byteCount })
            .prefix(Self.shrinkingCountMax)
        {
            guard let shape = budget.takeShrunk(holding: slot.frameByteCountMax) else { break }
            if let change = reserve(shape, for: slot) { changes.append(change) }
        }
        return changes
    }

    /// Whether rings can move to the other ends now; false while some do.
    package func hasOtherEnds(now: MonotonicTime) -> Bool {
        !hasMoves && slots.values.contains { $0.canMove(now: now) }
    }

    /// When the next ring can be moved that is not at the right end; nil if none can before the present
    /// ones have moved.
    var nextOtherEndAt: MonotonicTime? {
        guard !hasMoves else { return nil }
        return slots.values.filter { $0.isAtOtherEnd && $0.canBeReplaced }.map(\.otherEndAt).min()
    }

    /// Whether rings are moving to the other ends.
    private var hasMoves: Bool { slots.values.contains { $0.isMoving && !$0.isLeaving } }

    /// Records that a ring has moved: what hindered others may be over, too.
    mutating func recordMoved(now: MonotonicTime) {
        for slot in slots.values where slot.isAtOtherEnd {
            slot.hastenOtherEnd(to: now + Self.retryInterval)
        }
    }

    /// Records that a ring has not moved, since the new one was too small.
    mutating func recordNotMoved(_ slot: RingSlot, now: MonotonicTime) {
        moves.recordFailure()
        slot.recordNotMoved(now: now)
    }
}
