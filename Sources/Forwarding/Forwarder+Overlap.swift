import Edges
import PacketRing
import Linux

/// How a larger or smaller ring takes another one's place (see `RingReplacement`).
extension Forwarder {
    /// Has a ring get what the present one gets.
    func prepare(_ ring: consuming Ring, _ set: consuming PacketSet, _ incarnation: UInt64) {
        guard let tap = taps[incarnation] else {
            return notes(.kept(incarnation: incarnation, nil))
        }
        do {
            try count(tap)
            try tap.prepare(ring, set)
            notes(.prepared(incarnation: incarnation))
        } catch {
            counters.add(1, to: .programsNotReplaced)
            notes(.kept(incarnation: incarnation, nil))
        }
    }

    /// Forwards a block of a ring of which another has had a part.
    func forwardShared(_ block: borrowing Block, _ tap: CapturedEdge) {
        tap.note(block)
        let count = pipeline.forward(
            block, from: tap.place.point, tap.account, isDecided: tap.isDecided,
            isFiltered: tap.isFiltered, unless: tap.hasForwarded)
        tap.hasRead(count)
        countOwn(tap)
    }

    /// Gives the next block of a ring back unread. Answers how many packets were in it that were still
    /// to be forwarded.
    func skipBlock(_ tap: CapturedEdge) -> Int? {
        guard tap.isShared else { return tap.ring?.skipBlock() }
        guard let block = tap.ring?.next() else { return nil }
        tap.note(block)
        var packets = block.packets
        var count = 0
        while let packet = packets.next() {
            if !tap.hasForwarded(packet.identity) { count += 1 }
        }
        tap.hasRead(packets.count)
        countOwn(tap)
        return count
    }

    private func countOwn(_ tap: CapturedEdge) {
        let count = tap.takeOwnCount()
        guard count > 0 else { return }
        self.count(Ring.Statistics(received: UInt32(count), dropped: 0), tap.account)
    }

    /// Puts the successor in the place of a ring that has been read as far as it has to be, or gives
    /// up on it if it has not got everything.
    func replaceRing(of tap: CapturedEdge) throws {
        try count(tap)
        let number = tap.number
        guard let (old, lost) = try tap.succeed() else { return keepRing(of: tap) }
        count(lost, tap.account)
        try poller.remove(number)
        counters.add(1, to: .ringsReplaced)
        try poller.add(tap.number, as: Key.firstTap + tap.place.incarnation)
        notes(.done(incarnation: tap.place.incarnation, wasFollowed: true, old))
    }

    /// Gives up on a successor.
    func keepRing(of tap: CapturedEdge) {
        let (next, rest) = tap.abandonSuccessor()
        count(rest, tap.account)
        notes(.kept(incarnation: tap.place.incarnation, next))
    }
}
