import PacketRing
import Linux

/// How a larger or smaller ring takes another one's place (see `Overlap`).
extension Forwarder {
    /// Has a ring get what the present one gets.
    func prepare(_ ring: consuming Ring, _ set: consuming PacketSet, _ life: UInt64) {
        guard let tap = taps[life] else { return notes(.kept(life: life, nil)) }
        do {
            try count(tap)
            try tap.prepare(ring, set)
            notes(.prepared(life: life))
        } catch {
            CaptureCounters.add(1, to: counters.programsNotReplaced)
            notes(.kept(life: life, nil))
        }
    }

    /// Forwards a block of a ring of which another has had a part.
    func forwardShared(_ block: borrowing Block, _ tap: Tap) {
        tap.note(block)
        let count = pipeline.forward(
            block, from: tap.place.point, tap.account, isDecided: tap.isDecided,
            isFiltered: tap.isFiltered, unless: tap.hasForwarded)
        tap.hasRead(count)
        countOwn(tap)
    }

    /// Gives the next block of a ring back unread. Answers how many packets were in it that were still
    /// to be forwarded.
    func skipBlock(_ tap: Tap) -> Int? {
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

    private func countOwn(_ tap: Tap) {
        let count = tap.takeOwnCount()
        guard count > 0 else { return }
        self.count(Ring.Statistics(received: UInt32(count), dropped: 0), tap.account)
    }

    /// Puts the successor in the place of a ring that has been read as far as it has to be, or gives
    /// up on it if it has not got everything.
    func replaceRing(of tap: Tap) throws {
        try count(tap)
        let number = tap.number
        guard let (old, lost) = try tap.succeed() else { return keepRing(of: tap) }
        count(lost, tap.account)
        try poller.remove(number)
        CaptureCounters.add(1, to: counters.ringsReplaced)
        try poller.add(tap.number, as: Key.firstTap + tap.place.life)
        notes(.done(life: tap.place.life, wasFollowed: true, old))
    }

    /// Gives up on a successor.
    func keepRing(of tap: Tap) {
        let (next, rest) = tap.abandonSuccessor()
        count(rest, tap.account)
        notes(.kept(life: tap.place.life, next))
    }
}
