import Linux
import Observation
import Packets
import Time

/// Fragments that wait for the first one of their datagram.
extension Pipeline {
    /// Forwards all held fragments, as far as the rule allows it without their first one.
    mutating func releaseHeld(into queue: inout ByteQueue, now: MonotonicTime) {
        guard held.count + strangers.count > 0, queue.hasRoom(for: heldByteCount) else { return }
        releaseStrangers(into: &queue, now) { _ in true }
        release(into: &queue, now) { $0.takeFirst() }
    }

    /// Forwards the held fragments of an edge that is gone.
    mutating func releaseHeld(
        countedBy counters: EdgeTally, into queue: inout ByteQueue, now: MonotonicTime
    ) {
        releaseStrangers(into: &queue, now) { $0.counters === counters }
        if held.count > 0 { release(into: &queue, now) { $0.take(countedBy: counters) } }
        releaseRequests(countedBy: counters, into: &queue, now)
    }

    /// Gives the oldest held fragment up, so that there is room for another.
    mutating func makeRoomToHold(
        _ byteCount: Int, into queue: inout ByteQueue, _ now: MonotonicTime
    ) {
        release(into: &queue, now, isGivenUp: true) { $0.takeToMakeRoom(for: byteCount) }
    }

    /// Decides about fragments that have waited, and now wait no longer.
    ///
    /// Each is counted where it was seen, which may be another edge than that of the block at hand.
    mutating func release(
        into queue: inout ByteQueue, _ now: MonotonicTime, isGivenUp: Bool = false,
        _ take: (inout HeldFragments) -> HeldFragments.Fragment?
    ) {
        // Moved out of `self`, so that their bytes stay in place while `self` changes.
        var fragments = noFragments
        swap(&fragments, &held)
        while let fragment = take(&fragments) {
            var counts = BlockCounts()
            if isGivenUp { counts.notHeldCount += 1 }
            punt(
                fragments.packet(fragment), at: fragment.point, fragment.counters, into: &queue,
                now, heldAt: fragment.heldAt, &counts)
            add(counts, to: fragment.counters)
        }
        swap(&fragments, &held)
    }
}
