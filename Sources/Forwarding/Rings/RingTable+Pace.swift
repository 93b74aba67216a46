import PacketRing
package import Time

/// Replacing the rings of edges that fall silent by slow ones, and the other way round.
extension RingTable {
    /// The most rings whose pace changes at a time, which is as many as the manager opens at once.
    ///
    /// While one is replaced, the kernel stamps the packets of the whole node.
    private static let pacingCountMax = 16
    /// The time from one lot of rings that become slow to the next.
    private static let slowingInterval = Duration.seconds(1)

    /// The number of slow rings.
    package var slowCount: Int { slots.values.count { $0.shape.pace == .slow } }

    /// Records which pace is right for an edge.
    package func recordPace(_ pace: RingPace, of incarnation: UInt64) {
        slots[incarnation]?.wantedPace = pace
    }

    /// Takes memory for rings of another pace, where that is right now.
    ///
    /// Rings of edges that talk come first. If there is no memory for a quick ring that lasts until the
    /// slow one has been read, or none for a slow ring beside the quick one, that is tried again later.
    package mutating func takePaces(now: MonotonicTime) -> [Change] {
        var left = Self.pacingCountMax - slots.values.count { $0.isChangingPace }
        guard left > 0 else { return [] }
        var changes: [Change] = []
        let waiting = slots.values.filter { $0.canChangePace(now: now) }
        for slot in waiting where slot.wantedPace == .quick && left > 0 {
            left -= 1
            slot.postponePace(now: now)
            let shape = budget.takeAfterSlow(
                holding: slot.frameByteCountMax, insteadOf: slot.byteCount,
                failureCount: slot.ringFailureCount)
            if let change = shape.flatMap({ reserve($0, for: slot) }) { changes.append(change) }
        }
        guard now >= slowingAt else { return changes }
        for slot in waiting where slot.wantedPace == .slow && left > 0 {
            (left, slowingAt) = (left - 1, now + Self.slowingInterval)
            slot.postponePace(now: now)
            let shape = budget.takeSlow(
                holding: slot.frameByteCountMax, insteadOf: slot.byteCount)
            if let change = shape.flatMap({ reserve($0, for: slot) }) { changes.append(change) }
        }
        return changes
    }

    /// When the next ring can get another pace; nil if none is to have one, or before others have it.
    package var nextPaceAt: MonotonicTime? {
        guard slots.values.count(where: \.isChangingPace) < Self.pacingCountMax else { return nil }
        return slots.values.lazy.filter { $0.canBeReplaced && $0.hasOtherPace }.map {
            [slowingAt] slot in
            slot.wantedPace == .slow ? max(slot.paceAt, slowingAt) : slot.paceAt
        }.min()
    }
}
