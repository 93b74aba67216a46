package import Edges
package import Linux
import Observation
package import PacketRing
package import Time

/// The rings of a capture as their manager knows them, and the memory that they take.
///
/// It makes no system call, and its functions are given the time. It belongs to the manager's thread.
package struct RingTable {
    package internal(set) var budget: RingBudget
    /// The version of the node that was followed last.
    package var version = 0
    /// Whether the log says that edges share a ring.
    package var hasWarnedOfSharing = false
    /// Whether the log says that interfaces are not captured for lack of memory.
    var hasWarnedOfUncaptured = false
    /// Whether the log says that the shared ring cannot be opened.
    package var hasWarnedOfSharedRing = false
    private(set) var slots: [UInt64: RingSlot] = [:]
    private var closing: [ClosingRing] = []
    var moves = RingMoves()
    /// When edges are tried again that could not be captured.
    private var retryAt: [UInt64: MonotonicTime] = [:]
    /// Why edges could not be captured the last time, so that each reason is logged once.
    private var failures: [UInt64: Ring.Failure] = [:]
    /// The edges that share one ring.
    package private(set) var sharing: [Edge] = []
    /// The interfaces that have no end in the node and are not captured for lack of memory.
    package private(set) var uncaptured: [Edge] = []
    /// When edges that lack memory, though they need a ring of their own, are tried again.
    private var lackingAt = MonotonicTime.zero
    /// How many of these are tried then: one, and more once there is memory.
    private var lackingCountMax = 1
    /// The edges inside pods for whose rings the kernel has just had no memory.
    private var lackingNow: Set<UInt64> = []
    /// When further rings can become slow.
    var slowingAt = MonotonicTime.zero
    /// The lease on the shared ring; nil while there is none.
    private var sharedLease: TransferBox<RingLease>?

    /// How long a ring was under no pressure before it can be replaced by the smallest.
    static let idleTime = Duration.seconds(10)
    /// How often memory is looked for that lacked for rings inside pods.
    private static let lackingInterval = Duration.seconds(60)
    /// The most rings that are tried at once when there is memory again.
    private static let lackingCountMost = 16
    static let retryInterval = Duration.seconds(1)
    /// How long a ring that has just grown is left alone, to show what it can do.
    static let calmTime = Duration.milliseconds(200)
    /// How long a ring that has just replaced another one keeps its pace.
    static let paceTime = Duration.seconds(1)
    /// The most failures that count: each doubles `calmTime`, at last to 13 s.
    static let failureCountMax = 6
    /// The most idle rings that are replaced at a time.
    static let shrinkingCountMax = 16
    /// The most packets in the records of all replacements, whose memory is 16 bytes for each.
    private static let seenCountMax = 1 << 21

    /// Creates a table without rings.
    package init(_ budget: RingBudget) { self.budget = budget }

    /// Whether no edge has a ring of its own.
    package var isEmpty: Bool { slots.isEmpty }

    /// The memory of all rings, to which the shared ring belongs once it is open.
    package var ringByteCount: Int {
        budget.byteCount - (sharedLease == nil ? RingBudget.smallest.byteCount : 0)
    }

    /// The ring of an edge.
    package func slot(_ incarnation: UInt64) -> RingSlot? { slots[incarnation] }

    /// Whether something must be tried again after a while.
    package var hasFailures: Bool {
        !retryAt.isEmpty || lacksSharedRing || lacksRingsInside
            || slots.values.contains(where: \.isAtOtherEnd)
    }

    /// Whether something can be done at once.
    package func isDue(now: MonotonicTime) -> Bool { !lackingNow.isEmpty || hasOtherEnds(now: now) }

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
    /// Edges for which there is none share one ring, and keep doing so. The shared ring is in the
    /// node's namespace, so those that are to be captured inside their pods are tried again each
    /// minute, and those that have no end in the node do not share it.
    ///
    /// - Returns: The rings to open, and whether other edges share the shared ring than before.
    package mutating func takeOpenings(
        for edges: [Edge], now: MonotonicTime
    ) -> (openings: [Opening], isSharingChanged: Bool) {
        retryAt = retryAt.filter { $0.value > now }
        let lackingBefore = Set((sharing + uncaptured).map(\.incarnation))
        var lackingCount = now >= lackingAt ? lackingCountMax : 0
        var openings: [Opening] = []
        var left: [Edge] = []
        for edge in edges where slots[edge.incarnation] == nil && edge.isUp {
            guard retryAt[edge.incarnation] == nil else { continue }
            var isTried = !lackingNow.contains(edge.incarnation)
            if lackingBefore.contains(edge.incarnation) {
                isTried = lackingCount > 0 && edge.tap.side == .pod
                if isTried { lackingCount -= 1 }
            }
            if isTried, let shape = budget.takeFirst(holding: edge.frameByteCountMax, now: now) {
                openings.append(Opening(edge: edge, shape: shape))
            } else {
                left.append(edge)
            }
        }
        lackingNow = []
        let before = sharing
        sharing = left.filter(\.hasHostEnd)
        uncaptured = left.filter { !$0.hasHostEnd }
        if now >= lackingAt, lacksRingsInside { lackingAt = now + Self.lackingInterval }
        return (openings, sharing != before)
    }

    /// Whether edges share the shared ring, or are not captured, that need a ring inside their pods.
    private var lacksRingsInside: Bool {
        !uncaptured.isEmpty || sharing.contains { $0.tap.side == .pod }
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
        // Where there is memory for one there may be some for others.
        if lacksRingsInside { (lackingAt, lackingCountMax) = (now, Self.lackingCountMost) }
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
        if error == .noMemory {
            budget.markExhausted(now: now)
            if opening.edge.tap.side == .pod {
                // At once it shares the shared ring, if it can.
                lackingNow.insert(incarnation)
                (lackingAt, lackingCountMax) = (now + Self.lackingInterval, 1)
            }
        }
        // An event reports that an interface is up again.
        if error != .interfaceDown, !lackingNow.contains(incarnation) {
            retryAt[incarnation] = now + Self.retryInterval
        }
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
        /// The most packets that are recorded while two rings get them.
        package let seenCountMax: Int
    }

    /// Takes memory for a larger ring in the place of one that is under pressure.
    ///
    /// If there is none, it takes memory for the smallest rings in the place of idle ones, so that
    /// there is some the next time.
    package mutating func relievePressure(
        on incarnation: UInt64, _ pressure: RingPressure = .fill, now: MonotonicTime
    ) -> [Change] {
        guard let slot = slots[incarnation], slot.canBeReplaced,
            now >= slot.pressedAt + Self.calmTime * (1 << slot.failureCount)
        else { return [] }
        slot.pressedAt = now
        slot.wantedPace = .quick
        if pressure == .rate {
            let large = budget.takeLarge(
                than: slot.byteCount, holding: slot.frameByteCountMax)
            return large.flatMap { reserve($0, for: slot) }.map { [$0] } ?? []
        }
        let shape = budget.takeLarger(
            than: slot.byteCount, holding: slot.frameByteCountMax,
            failureCount: slot.ringFailureCount)
        if let shape { return reserve(shape, for: slot).map { [$0] } ?? [] }
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
                if let change = reserve(shape, for: slot) { changes.append(change) }
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
            if let change = reserve(shape, for: slot) { changes.append(change) }
        }
        return changes
    }

    /// Takes memory for the record of packets, beside that for a ring which has been taken.
    ///
    /// The ring gets the pace that is right for the edge.
    ///
    /// - Returns: Nil if there is none, for which the memory of the ring has been given back.
    mutating func reserve(
        _ shape: Ring.Shape, for slot: RingSlot, at tap: EdgeTap? = nil
    ) -> Change? {
        let left = Self.seenCountMax - slots.values.reduce(0) { $0 + $1.seenCountMax }
        var count = slot.wantedSeenCount
        while count > left, count > RingSlot.seenCountMin { count /= 2 }
        guard count <= left else {
            budget.giveBack(shape.byteCount)
            return nil
        }
        let tap = tap ?? slot.presentTap
        let shape = shape.paced(slot.wantedPace)
        slot.reserve(shape, tap, seenCountMax: count)
        return Change(slot: slot, shape: shape, tap: tap, seenCountMax: count)
    }

    /// Records that a new ring has taken the place of the old one.
    package mutating func recordReplaced(
        _ incarnation: UInt64, _ old: TransferBox<Ring>?, now: MonotonicTime = .zero
    ) {
        guard let slot = slots[incarnation] else { return }
        budget.giveBack(slot.byteCount)
        closing.append(ClosingRing(ring: old, lease: slot.lease))
        if slot.isMoving { recordMoved(now: now) }
        slot.becomeNew(now: now)
    }

    /// Records that the forwarder has given up on a new ring, so that the next one comes later, and is
    /// larger if that helps.
    ///
    /// - Returns: The edge's ring if the new one was to be at the other end and was too small.
    @discardableResult
    package mutating func cancelReplacement(
        _ incarnation: UInt64, _ new: TransferBox<Ring>?,
        because obstacle: RingReplacement.Obstacle = .ring, now: MonotonicTime = .zero
    ) -> RingSlot? {
        guard let slot = slots[incarnation] else {
            closing.append(ClosingRing(ring: new, lease: nil))
            return nil
        }
        slot.recordFailure(obstacle)
        let isTooSmall = slot.isMoving && (obstacle == .ring || obstacle == .set)
        if isTooSmall { recordNotMoved(slot, now: now) }
        dropNewRing(of: slot, new)
        return isTooSmall ? slot : nil
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
