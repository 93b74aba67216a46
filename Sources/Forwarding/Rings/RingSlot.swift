package import Edges
import Linux
package import PacketRing
import Time

/// A ring that nobody uses any more, and the last lease on it.
package struct ClosingRing: Sendable {
    let ring: TransferBox<Ring>?
    let lease: TransferBox<RingLease>?

    /// Closes the ring, for which the kernel takes about 15 ms.
    func close() {
        _ = ring?.take()
        _ = lease?.take()
    }
}

/// A ring as its manager knows it, or two during a replacement.
package final class RingSlot {
    package let edge: Edge
    package private(set) var shape: Ring.Shape
    private(set) var lease: TransferBox<RingLease>?
    /// Where the ring is.
    package private(set) var tap: EdgeTap
    /// Where the edge is to be captured.
    var wantedTap: EdgeTap
    /// Where the new ring is during a replacement.
    private var newTap: EdgeTap?
    /// When a ring at the other end can be tried, and how often that has failed.
    private(set) var otherEndAt = MonotonicTime.zero
    private var otherEndFailureCount = 0
    /// The number of rings at the other end in a row that could not take over.
    package private(set) var notMovedCount = 0
    /// The most packets that the present replacement records; 0 if there is none.
    private(set) var seenCountMax = 0
    /// The shape of the new ring during a replacement.
    package private(set) var newShape: Ring.Shape?
    private(set) var newLease: TransferBox<RingLease>?
    /// What gives packets the same time in both rings, during a replacement.
    private var stamps: TransferBox<PacketStamps>?
    /// When the ring was under pressure last.
    var pressedAt = MonotonicTime.zero
    /// Whether the log says that the ring cannot be replaced.
    var hasWarned = false
    /// Whether the edge is gone.
    package var isLeaving = false
    /// The number of replacements in a row that were cancelled.
    package private(set) var failureCount = 0
    /// The number of these whose new ring was too small.
    private(set) var ringFailureCount = 0
    /// The number of these whose record of packets was too small.
    private var setFailureCount = 0

    /// The number of packets that an edge may have while two rings get them.
    ///
    /// Two rings get them for about 20 ms, so an edge may have 1.5 million packets a second. The number
    /// doubles each time that it was too small.
    static let seenCountMin = 1 << 15
    /// How often a ring at the other end has to be too small for the log to say so.
    static let notMovedCountToReport = 3

    /// The edge's largest frame, by the settings of its devices.
    var announcedByteCount: Int
    /// The longest frame that a block has cut.
    var cutByteCount = 0
    /// When a ring with larger blocks can be tried.
    var largerBlocksAt = MonotonicTime.zero
    /// Whether there was no memory for larger blocks the last time.
    var lacksMemory = false

    /// The pace that is right for the edge.
    var wantedPace = RingPace.quick
    /// When a ring of that pace can be tried, and how often in a row that has been done.
    private(set) var paceAt = MonotonicTime.zero
    private var paceTryCount = 0

    init(
        _ edge: Edge, _ shape: Ring.Shape, _ lease: TransferBox<RingLease>?, _ tap: EdgeTap
    ) {
        (self.tap, wantedTap) = (tap, edge.tap)
        self.edge = edge
        self.shape = shape
        self.lease = lease
        announcedByteCount = edge.frameByteCountMax
    }

    /// The memory of the ring.
    package var byteCount: Int { shape.byteCount }

    /// The memory of the new ring during a replacement, else 0.
    package var newByteCount: Int { newShape?.byteCount ?? 0 }

    /// The largest frame that the ring is to hold.
    package var frameByteCountMax: Int { max(announcedByteCount, cutByteCount) }

    /// Whether a replacement can begin.
    var canBeReplaced: Bool { !isLeaving && newShape == nil }

    /// Whether the ring is at another end of the pair than it should be.
    var isAtOtherEnd: Bool { tap.side != wantedTap.side && !isLeaving }

    /// Whether the ring has another pace than it should have.
    var hasOtherPace: Bool { wantedPace != shape.pace }

    /// Whether the new ring has another pace than the present one.
    var isChangingPace: Bool { newShape.map { $0.pace != shape.pace } ?? false }

    /// Whether a ring of another pace can be tried.
    func canChangePace(now: MonotonicTime) -> Bool {
        hasOtherPace && canBeReplaced && now >= paceAt
    }

    /// Lets a while go by until a ring of another pace is tried again: 1 s, and at last 32 s.
    func postponePace(now: MonotonicTime) {
        paceAt = now + .seconds(1 << min(paceTryCount, 5))
        paceTryCount += 1
    }

    /// Whether the edge leads to another pod than the one in which the ring is.
    var hasAnotherPod: Bool {
        guard let present = tap.podTap, let wanted = wantedTap.podTap else { return false }
        return !present.isSameInterface(as: wanted)
    }

    /// Where the ring is, by what is known of it now.
    var presentTap: EdgeTap { tap.side == wantedTap.side ? wantedTap : tap }

    /// Whether a ring at the other end can be tried.
    func canMove(now: MonotonicTime) -> Bool {
        isAtOtherEnd && canBeReplaced && now >= otherEndAt
    }

    /// Whether the new ring is at the other end of the pair.
    var isMoving: Bool { newTap.map { $0.side != tap.side } ?? false }

    /// Lets a while go by until a ring at the other end is tried again: 1 s, and at last 32 s.
    func postponeOtherEnd(now: MonotonicTime) {
        otherEndAt = now + .seconds(1 << min(otherEndFailureCount, 5))
        otherEndFailureCount += 1
    }

    /// Lets no more than a while go by.
    func hastenOtherEnd(to time: MonotonicTime) { otherEndAt = min(otherEndAt, time) }

    /// Records that a ring at the other end could not take over: the next one is tried after 1 s, and
    /// at last after 8 s.
    func recordNotMoved(now: MonotonicTime) {
        otherEndAt = now + .seconds(1 << min(notMovedCount, 3))
        (otherEndFailureCount, notMovedCount) = (0, notMovedCount + 1)
    }

    /// The number of packets for which the record of a replacement should have room.
    var wantedSeenCount: Int { Self.seenCountMin << setFailureCount }

    /// Records the memory of a new ring, and of the record of packets.
    func reserve(_ shape: Ring.Shape, _ tap: EdgeTap, seenCountMax: Int) {
        (newShape, newTap, self.seenCountMax) = (shape, tap, seenCountMax)
    }

    /// Records why a new ring could not take over.
    func recordFailure(_ obstacle: RingReplacement.Obstacle) {
        switch obstacle {
        case .busy: return
        case .ring: ringFailureCount = min(ringFailureCount + 1, RingTable.failureCountMax)
        case .set: setFailureCount = min(setFailureCount + 1, RingTable.failureCountMax)
        case .other: break
        }
        failureCount = min(failureCount + 1, RingTable.failureCountMax)
    }

    /// Records the new ring of a replacement.
    ///
    /// Rings at both ends of a pair need no stamps.
    func recordNewRing(
        _ lease: TransferBox<RingLease>, _ stamps: TransferBox<PacketStamps>?
    ) {
        newLease = lease
        self.stamps = stamps
    }

    /// Records that the new ring has taken over.
    ///
    /// It is left alone until it holds no duplicates any more.
    func becomeNew(now: MonotonicTime) {
        lease = newLease
        if let newShape { shape = newShape }
        if let newTap { tap = newTap }
        (failureCount, ringFailureCount, setFailureCount) = (0, 0, 0)
        (otherEndFailureCount, notMovedCount) = (0, 0)
        pressedAt = max(pressedAt, now)
        (paceAt, paceTryCount) = (now + RingTable.paceTime, 0)
        otherEndAt = now + RingTable.calmTime
        largerBlocksAt = max(largerBlocksAt, otherEndAt)
        dropNew()
    }

    func dropNew() {
        newLease = nil
        newShape = nil
        newTap = nil
        stamps = nil
        seenCountMax = 0
    }
}
