import Linux
import Observation
package import PacketRing
package import Time

/// The replacement of an edge's ring by a larger or smaller one, in which each packet is forwarded once.
///
/// For a while two rings get the edge's packets. The ring manager opens and closes rings, which takes
/// the kernel about 15 ms each; the forwarder reads them. They agree in four steps:
///
/// 1. *Open.* The manager opens the new ring, which lets nothing in. From now on the kernel gives a
///    packet the same time in all rings (`PacketStamps`), so packets have identities. It sends
///    `Command.prepare`.
/// 2. *Prepare.* The forwarder lets into the new ring what is let into the old one, and replies
///    `Event.prepared`. It forwards what comes out of the old ring, and records it.
/// 3. *Succeed.* The manager waits until all packets have passed that were under way, so that every
///    further packet is in the new ring, and sends `Command.succeed`. What the kernel had put into
///    the old ring by then is how far it must be read.
/// 4. *Replace.* When the old ring has been read that far, the forwarder gives it up with all that it
///    still holds or had no room for, and sends `Event.replaced`. Packets of the new ring that were
///    recorded are left out. The kernel shows a packet to the younger ring first, so duplicates can
///    only be among those that the new ring had when the old one was read last.
///
/// The new ring may be at the other end of the edge's pair. Then three things are different:
///
/// * The kernel clears a packet's time stamp between the two ends, so identities are without it.
/// * A packet to the pod passes the pod's end after the host's, and one from the pod the other way
///   round. So duplicates may come into the new ring for a while after step 4 (`lagTime`).
/// * A packet that was recorded may never be in the new ring, since it had passed that end before.
///   What was recorded is forgotten with the replacement.
///
/// Until step 4 the old ring counts. If anything is wrong with the new one, either side *cancels*: the
/// manager by `Command.cancel`, the forwarder by `Event.cancelled`, and the new ring is closed.
///
/// This type is the forwarder's record of the packets. It reads no clock and makes no system call.
package final class RingReplacement {
    /// The identities of packets that came out of the old ring.
    private var seen: PacketSet
    /// The number of packets that had been put into the old ring when the new one began.
    private let startCount: Int
    /// The end of the old ring; nil until step 3.
    private var end: End?
    /// Whether the new ring can take over: all packets that both have can be told apart.
    package var isSound: Bool { obstacle == nil }
    /// Whether the set had no room for a packet.
    private var isSetFull = false
    /// Whether a packet that is in both rings cannot be told from others.
    private var hasUnknown = false
    /// The number of packets that the old ring had no room for, and that the new ring has.
    private var droppedCount = 0
    /// The number of packets of the new ring that may be duplicates and have not been read.
    private var unreadCount = 0
    private var firstReadCount = 0
    /// Whether the two rings are at two ends of a pair.
    package let isBetweenEnds: Bool
    /// Until when duplicates may come into the new ring; nil if none can any more, or before step 4.
    private var lagEnd: MonotonicTime?

    /// The time that a packet may take from one end of a pair to the other one.
    ///
    /// It waits in a queue of its processor, which a busy node may take long to serve.
    package static let lagTime = Duration.milliseconds(50)

    private struct End {
        /// The number of packets for which the old ring must be read.
        let readCount: Int
        /// When it has been read far enough even if the kernel's count is wrong.
        let latest: MonotonicTime
    }

    /// Begins step 2.
    ///
    /// - Parameters:
    ///   - seen: An empty set, as large as the number of packets that may come meanwhile.
    ///   - startCount: The number of packets that the kernel has put into the old ring.
    ///   - isBetweenEnds: Whether the two rings are at two ends of a pair.
    package init(
        _ seen: consuming PacketSet, startCount: Int, isBetweenEnds: Bool = false
    ) {
        self.isBetweenEnds = isBetweenEnds
        self.seen = seen
        self.startCount = startCount
    }

    /// Step 2: records a packet of the old ring.
    ///
    /// - Parameters:
    ///   - identity: Nil if the packet cannot be told from others.
    ///   - position: The packet's number in the old ring, from 1 on.
    package func record(_ identity: UInt64?, at position: Int) {
        let isInBoth = position > startCount
        if isInBoth { firstReadCount += 1 }
        if let identity {
            if !seen.insert(identity) { isSetFull = true }
        } else if isInBoth {
            hasUnknown = true
        }
    }

    /// Why the record of packets keeps the new ring from taking over; nil if it does not.
    package var obstacle: Obstacle? { hasUnknown ? .other : isSetFull ? .set : nil }

    /// Step 2: records packets that the old ring had no room for.
    package func recordDropped(_ count: Int) { droppedCount += count }

    /// Step 3: fixes the end of the old ring, since all further packets are in the new one.
    ///
    /// - Parameters:
    ///   - putCount: The number of packets that the kernel has put into the old ring.
    ///   - latest: When all of them have come out of it.
    package func end(at putCount: Int, latest: MonotonicTime) {
        end = End(readCount: putCount, latest: latest)
    }

    /// Whether the end of the old ring is known.
    package var hasEnd: Bool { end != nil }

    /// Whether the old ring has been read to its end.
    package func isComplete(readCount: Int, now: MonotonicTime) -> Bool {
        guard let end else { return false }
        return readCount >= end.readCount || now >= end.latest
    }

    /// Step 4: begins to look for duplicates among the packets that are in the new ring now.
    package func beginDeduplication(of count: Int) { unreadCount = count }

    /// Step 4, between two ends: begins to look for duplicates among all packets that come.
    package func beginLag(now: MonotonicTime) {
        unreadCount = .max
        lagEnd = now + Self.lagTime
    }

    /// Whether duplicates may still come into the new ring.
    ///
    /// Meanwhile its packets are counted when they are read.
    package var isLagging: Bool { lagEnd != nil }

    /// Whether it is time to end the lag.
    package func isLagOver(now: MonotonicTime) -> Bool { lagEnd.map { now >= $0 } ?? false }

    /// Ends the lag: further duplicates can only be among packets that are in the new ring now.
    package func endLag(unreadCount: Int) {
        self.unreadCount = unreadCount
        lagEnd = nil
    }

    /// The identity of a packet, by which it is known in the other ring.
    func identity(of packet: borrowing RingPacket) -> UInt64? {
        isBetweenEnds ? packet.contentIdentity : packet.identity
    }

    /// Whether packets of the new ring may still be duplicates.
    package var mayHaveDuplicates: Bool { unreadCount > 0 }

    /// Step 4: takes the next packet of the new ring.
    ///
    /// - Returns: Whether it came out of the old ring before.
    package func consume(_ identity: UInt64?) -> Bool {
        guard unreadCount > 0 else { return false }
        unreadCount -= 1
        if let identity, seen.remove(identity) { return true }
        firstReadCount += 1
        return false
    }

    /// What is still to be counted of the old ring if it stays: packets dropped, and those not read.
    package func remainder(readCount: Int, putCount: Int) -> Ring.Statistics {
        let unread = putCount - max(readCount, startCount)
        return Ring.Statistics(
            received: UInt32(clamping: droppedCount + unread),
            dropped: UInt32(clamping: droppedCount))
    }

    /// Takes the number of packets that have come out of either ring for the first time.
    ///
    /// The kernel's counts, as the forwarder uses them, do not have these packets.
    package func takeFirstReadCount() -> Int {
        defer { firstReadCount = 0 }
        return firstReadCount
    }
}

extension RingReplacement {
    /// What the ring manager tells the forwarder.
    enum Command: Sendable {
        /// Let the same packets into this ring at an end of the pair, and record them in this set.
        case prepare(TransferBox<Ring>, TransferBox<PacketSet>, TapSide)
        /// The new ring gets all packets from now on: read the old one to its end.
        case succeed
        /// The new ring is of no use.
        case cancel
    }

    /// What the forwarder tells the ring manager.
    enum Event: Sendable {
        /// The new ring lets in what the old one does.
        case prepared
        /// The new ring has taken over; close the old one.
        case replaced(TransferBox<Ring>?)
        /// The old ring stays; close the new one.
        case cancelled(TransferBox<Ring>?, Obstacle)
    }

    /// Why a new ring cannot take over, which says what has to be larger the next time.
    package enum Obstacle: Sendable {
        /// The new ring had no room for all packets.
        case ring
        /// The set had no room for all packets.
        case set
        /// It was no time for it: the queue is full, or an earlier replacement is not over.
        case busy
        /// Nothing that a larger ring or set would help.
        case other
    }
}
