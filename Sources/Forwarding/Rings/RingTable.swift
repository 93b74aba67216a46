package import Edges
package import Linux
import Observation
package import PacketRing
package import Time

/// The rings of a capture as their manager knows them, and the memory that they take.
///
/// It makes no system call, and its functions are given the time. It belongs to the manager's thread.
package struct RingTable {
    package private(set) var budget: RingBudget
    /// The version of the node that was followed last.
    package var version = 0
    /// Whether the log says that edges share a ring.
    package var hasWarnedOfSharing = false
    /// Whether the log says that the shared ring cannot be opened.
    package var hasWarnedOfSharedRing = false
    private var slots: [UInt64: RingSlot] = [:]
    private var closing: [ClosingRing] = []
    /// When edges are tried again that could not be captured.
    private var retryAt: [UInt64: MonotonicTime] = [:]
    /// Why edges could not be captured the last time, so that each reason is logged once.
    private var failures: [UInt64: Ring.Failure] = [:]
    /// The edges that share one ring.
    package private(set) var sharing: [Edge] = []
    /// The lease on the shared ring; nil while there is none.
    private var sharedLease: TransferBox<RingLease>?

    /// How long a ring was under no pressure before it can be replaced by the smallest.
    private static let idleTime = Duration.seconds(10)
    private static let retryInterval = Duration.seconds(1)
    /// How long a ring that has just grown is left alone, to show what it can do.
    private static let calmTime = Duration.milliseconds(200)
    /// The most failures that count: each doubles `calmTime`, at last to 13 s.
    private static let failureCountMax = 6
    /// The most idle rings that are replaced at a time.
    private static let shrinkingCountMax = 16
    /// The most rings that move to the other ends of their pairs at a time.
    private static let otherEndCountMax = 16

    /// Creates a table without rings.
    package init(_ budget: RingBudget) { self.budget = budget }

    /// Whether no edge has a ring of its own.
    package var isEmpty: Bool { slots.isEmpty }

    /// The memory of all rings, to which the shared ring belongs once it is open.
    package var ringByteCount: Int {
        budget.usedByteCount - (sharedLease == nil ? RingBudget.smallest.byteCount : 0)
    }

    /// The ring of an edge.
    package func slot(_ incarnation: UInt64) -> RingSlot? { slots[incarnation] }

    /// Whether something must be tried again after a while.
    package var hasFailures: Bool {
        !retryAt.isEmpty || lacksSharedRing || slots.values.contains(where: \.isAtOtherEnd)
    }

    /// The number of rings inside pods.
    package var insideCount: Int { slots.values.count { $0.tap.side == .pod } }

    /// Whether edges share a ring that is not open.
    package var lacksSharedRing: Bool { sharedLease == nil && !sharing.isEmpty }
}

/// Opening rings.
extension RingTable {
    /// A ring that is to be opened.
    package struct Opening: Sendable {
        package let edge: Edge
        package let shape: Ring.Shape
    }

    /// Takes memory for the edges that have no ring.
    ///
    /// Edges for which there is none share one ring, and keep doing so.
    ///
    /// - Returns: The rings to open, and whether other edges share the shared ring than before.
    package mutating func takeOpenings(
        for edges: [Edge], now: MonotonicTime
    ) -> (openings: [Opening], isSharingChanged: Bool) {
        retryAt = retryAt.filter { $0.value > now }
        let sharingBefore = Set(sharing.map(\.incarnation))
        var openings: [Opening] = []
        var left: [Edge] = []
        for edge in edges where slots[edge.incarnation] == nil && edge.isUp {
            guard retryAt[edge.incarnation] == nil else { continue }
            if !sharingBefore.contains(edge.incarnation),
                let shape = budget.takeFirst(holding: edge.frameByteCountMax, now: now)
            {
                openings.append(Opening(edge: edge, shape: shape))
            } else {
                left.append(edge)
            }
        }
        defer { sharing = left }
        return (openings, left != sharing)
    }

    /// Records a ring that has been opened.
    ///
    /// - Parameters:
    ///   - opening: The ring.
    ///   - lease: A lease on it.
    ///   - tap: Where it is.
    ///   - now: The time.
    /// - Returns: Whether earlier tries had failed.
    package mutating func recordOpened(
        _ opening: Opening, _ lease: TransferBox<RingLease>?, at tap: EdgeTap = .host,
        now: MonotonicTime = .zero
    ) -> Bool {
        let incarnation = opening.edge.incarnation
        let slot = RingSlot(opening.edge, opening.shape, lease, tap)
        // The other end has just been tried.
        if slot.isAtOtherEnd { slot.postponeOtherEnd(now: now) }
        slots[incarnation] = slot
        return failures.removeValue(forKey: incarnation) != nil
    }

    /// Records that a ring could not be opened, so that it is tried again.
    ///
    /// - Returns: Whether the log should say so: the edge is there, and the reason is a new one.
    package mutating func recordFailure(
        _ opening: Opening, _ error: Ring.Failure, now: MonotonicTime
    ) -> Bool {
        let incarnation = opening.edge.incarnation
        budget.giveBack(opening.shape.byteCount)
        if error == .noMemory { budget.markExhausted(now: now) }
        // An event reports that an interface is up again.
        if error != .interfaceDown { retryAt[incarnation] = now + Self.retryInterval }
        // An edge that has gone or down in the meantime is no failure.
        guard !error.isInterfaceAbsent else { return false }
        guard let last = failures.updateValue(error, forKey: incarnation) else { return true }
        return !Self.isSameReason(last, error)
    }

    /// Whether two failures have the same reason, whatever system call reported it.
    private static func isSameReason(_ failure: Ring.Failure, _ other: Ring.Failure) -> Bool {
        switch (failure, other) {
        case (.system(let error), .system(let otherError)): error.errno == otherError.errno
        default: failure == other
        }
    }

    /// Records that the shared ring is open.
    package mutating func recordSharedRing(_ lease: TransferBox<RingLease>?) {
        sharedLease = lease
    }
}

/// Closing rings.
extension RingTable {
    /// Marks the rings whose edges are gone, or lead to another pod, as leaving.
    ///
    /// - Returns: The incarnations of those edges, each once.
    package mutating func takeGone(from edges: [Edge]) -> [UInt64] {
        let incarnations = Set(edges.map(\.incarnation))
        failures = failures.filter { incarnations.contains($0.key) }
        let gone = slots.values.filter {
            (!incarnations.contains($0.edge.incarnation) || $0.hasAnotherPod) && !$0.isLeaving
        }
        for slot in gone { slot.isLeaving = true }
        return gone.map(\.edge.incarnation)
    }

    /// Records that the forwarder has let go of an edge's last ring.
    package mutating func recordClosed(_ incarnation: UInt64, _ ring: TransferBox<Ring>?) {
        guard let slot = slots.removeValue(forKey: incarnation) else { return }
        budget.giveBack(slot.byteCount)
        closing.append(ClosingRing(ring: ring, lease: slot.lease))
        dropNewRing(of: slot, nil)
    }

    /// Takes the rings that are to be closed.
    package mutating func takeClosing() -> [ClosingRing] {
        defer { closing = [] }
        return closing
    }

    /// Takes all rings, at the end of the capture.
    package mutating func takeAll() -> [ClosingRing] {
        let leases = slots.values.flatMap { [$0.lease, $0.newLease] } + [sharedLease]
        return takeClosing() + leases.map { ClosingRing(ring: nil, lease: $0) }
    }
}

/// Replacing rings; see `RingReplacement`.
extension RingTable {
    /// A ring and the shape of the one that is to take its place.
    package struct Change {
        package let slot: RingSlot
        package let shape: Ring.Shape
        /// Where the new ring is to be.
        package let tap: EdgeTap
    }

    /// Takes memory for a larger ring in the place of one that is under pressure.
    ///
    /// If there is none, it takes memory for the smallest rings in the place of idle ones, so that
    /// there is some the next time.
    package mutating func relievePressure(
        on incarnation: UInt64, now: MonotonicTime
    ) -> [Change] {
        guard let slot = slots[incarnation], slot.canBeReplaced,
            now >= slot.pressedAt + Self.calmTime * (1 << slot.failureCount)
        else { return [] }
        slot.pressedAt = now
        let shape = budget.takeLarger(
            than: slot.byteCount, holding: slot.frameByteCountMax, failureCount: slot.failureCount)
        if let shape { return [reserve(shape, for: slot)] }
        return budget.canGrow(slot.byteCount, holding: slot.frameByteCountMax)
            ? shrinkIdle(now) : []
    }

    /// Records what is known of edges: their largest frames, and where they are to be captured.
    package func record(_ edges: [Edge]) {
        for edge in edges {
            slots[edge.incarnation]?.announcedByteCount = edge.frameByteCountMax
            slots[edge.incarnation]?.wantedTap = edge.tap
        }
    }

    /// Takes memory for rings at the other ends of their pairs, where edges are to be captured now.
    ///
    /// A few at a time, since each takes the kernel 15 ms.
    package mutating func takeOtherEnds(now: MonotonicTime) -> [Change] {
        let waiting = slots.values.filter {
            $0.isAtOtherEnd && $0.canBeReplaced && now >= $0.otherEndAt
        }
        return waiting.prefix(Self.otherEndCountMax).compactMap { slot in
            slot.postponeOtherEnd(now: now)
            let shape = budget.takeForOtherEnd(
                holding: slot.frameByteCountMax, insteadOf: slot.byteCount)
            return shape.map { reserve($0, for: slot, at: slot.wantedTap) }
        }
    }

    /// Whether more rings can move to the other ends at once than `takeOtherEnds` gives.
    package func hasOtherEnds(now: MonotonicTime) -> Bool {
        slots.values.contains { $0.isAtOtherEnd && $0.canBeReplaced && now >= $0.otherEndAt }
    }

    /// Records that a block of an edge's ring has cut a frame of a size.
    ///
    /// - Returns: The edge's ring if it is the first such frame.
    package func recordCut(_ incarnation: UInt64, _ byteCount: Int) -> RingSlot? {
        guard let slot = slots[incarnation] else { return nil }
        let isFirst = slot.cutByteCount == 0
        slot.cutByteCount = max(slot.cutByteCount, byteCount)
        return isFirst ? slot : nil
    }

    /// Takes memory for rings with larger blocks, where frames have become larger than blocks.
    ///
    /// A ring whose blocks are larger than they have to be stays until its memory is needed.
    ///
    /// - Returns: The rings to replace, and those for which there was memory until now and is none.
    package mutating func takeLargerBlocks(
        now: MonotonicTime
    ) -> (changes: [Change], lacking: [RingSlot]) {
        var changes: [Change] = []
        var lacking: [RingSlot] = []
        for slot in slots.values where !slot.shape.holds(frameOf: slot.frameByteCountMax) {
            guard slot.canBeReplaced, now >= slot.largerBlocksAt else { continue }
            slot.largerBlocksAt = now + Self.retryInterval
            let shape = budget.takeHolding(slot.frameByteCountMax, insteadOf: slot.byteCount)
            if let shape {
                changes.append(reserve(shape, for: slot))
            } else if !slot.lacksMemory {
                lacking.append(slot)
            }
            slot.lacksMemory = shape == nil
        }
        return (changes, lacking)
    }

    private mutating func shrinkIdle(_ now: MonotonicTime) -> [Change] {
        let longestIdle = slots.values.sorted { $0.pressedAt < $1.pressedAt }
        var changes: [Change] = []
        for slot in longestIdle.prefix(Self.shrinkingCountMax) {
            guard now >= slot.pressedAt + Self.idleTime, slot.canBeReplaced,
                slot.byteCount > RingBudget.smallest(holding: slot.frameByteCountMax).byteCount,
                let shape = budget.takeSmallest(holding: slot.frameByteCountMax)
            else { continue }
            changes.append(reserve(shape, for: slot))
        }
        return changes
    }

    private func reserve(
        _ shape: Ring.Shape, for slot: RingSlot, at tap: EdgeTap? = nil
    ) -> Change {
        let tap = tap ?? slot.presentTap
        (slot.newShape, slot.newTap) = (shape, tap)
        return Change(slot: slot, shape: shape, tap: tap)
    }

    /// Records that a new ring has taken the place of the old one.
    package mutating func recordReplaced(_ incarnation: UInt64, _ old: TransferBox<Ring>?) {
        guard let slot = slots[incarnation] else { return }
        budget.giveBack(slot.byteCount)
        closing.append(ClosingRing(ring: old, lease: slot.lease))
        slot.becomeNew()
    }

    /// Records that the forwarder has given up on a new ring, so that the next one comes later and is
    /// larger.
    package mutating func cancelReplacement(_ incarnation: UInt64, _ new: TransferBox<Ring>?) {
        guard let slot = slots[incarnation] else {
            return closing.append(ClosingRing(ring: new, lease: nil))
        }
        slot.failureCount = min(slot.failureCount + 1, Self.failureCountMax)
        dropNewRing(of: slot, new)
    }

    /// Records that a new ring could not be opened.
    package mutating func recordOpeningFailed(_ slot: RingSlot) { dropNewRing(of: slot, nil) }

    private mutating func dropNewRing(of slot: RingSlot, _ new: TransferBox<Ring>?) {
        budget.giveBack(slot.newByteCount)
        if new != nil || slot.newLease != nil {
            closing.append(ClosingRing(ring: new, lease: slot.newLease))
        }
        slot.dropNew()
    }
}

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
    fileprivate(set) var wantedTap: EdgeTap
    /// Where the new ring is during a replacement.
    fileprivate var newTap: EdgeTap?
    /// When a ring at the other end can be tried, and how often that has failed.
    fileprivate var otherEndAt = MonotonicTime.zero
    private var otherEndFailureCount = 0
    /// The shape of the new ring during a replacement.
    package fileprivate(set) var newShape: Ring.Shape?
    private(set) var newLease: TransferBox<RingLease>?
    /// What gives packets the same time in both rings, during a replacement.
    private var stamps: TransferBox<PacketStamps>?
    /// When the ring was under pressure last.
    fileprivate(set) var pressedAt = MonotonicTime.zero
    /// Whether the log says that the ring cannot be replaced.
    var hasWarned = false
    /// Whether the edge is gone.
    package fileprivate(set) var isLeaving = false
    /// The number of replacements in a row that were cancelled.
    package fileprivate(set) var failureCount = 0

    /// The edge's largest frame, by the settings of its devices.
    fileprivate var announcedByteCount: Int
    /// The longest frame that a block has cut.
    fileprivate var cutByteCount = 0
    /// When a ring with larger blocks can be tried.
    fileprivate var largerBlocksAt = MonotonicTime.zero
    /// Whether there was no memory for larger blocks the last time.
    fileprivate var lacksMemory = false

    fileprivate init(
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

    /// Whether the edge leads to another pod than the one in which the ring is.
    fileprivate var hasAnotherPod: Bool {
        guard let present = tap.podTap, let wanted = wantedTap.podTap else { return false }
        return !present.isSameInterface(as: wanted)
    }

    /// Where the ring is, by what is known of it now.
    fileprivate var presentTap: EdgeTap { tap.side == wantedTap.side ? wantedTap : tap }

    /// Lets a while go by until a ring at the other end is tried again: 1 s, and at last 32 s.
    fileprivate func postponeOtherEnd(now: MonotonicTime) {
        otherEndAt = now + .seconds(1 << min(otherEndFailureCount, 5))
        otherEndFailureCount += 1
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

    fileprivate func becomeNew() {
        lease = newLease
        if let newShape { shape = newShape }
        if let newTap { tap = newTap }
        (failureCount, otherEndFailureCount, otherEndAt) = (0, 0, .zero)
        dropNew()
    }

    fileprivate func dropNew() {
        newLease = nil
        newShape = nil
        newTap = nil
        stamps = nil
    }
}
