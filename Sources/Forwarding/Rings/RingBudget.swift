package import PacketRing
package import Time

/// The memory of a capture's rings, and who gets how much of it.
///
/// Every edge begins with a small ring. Edges that carry much get a larger one, but all rings
/// together never take more than was given.
package struct RingBudget {
    /// The most bytes now; less than was given while the kernel has no more memory.
    package private(set) var byteCountMax: Int
    /// The number of bytes that rings take or have reserved.
    package private(set) var usedByteCount = 0
    private let givenByteCount: Int
    /// The number of bytes that are left to edges that are to come, when rings grow.
    private let setAsideByteCount: Int
    private var exhaustedUntil = MonotonicTime.zero

    /// How long the kernel is assumed to have no more memory.
    private static let exhaustion = Duration.seconds(60)

    /// The sizes of a first ring, and the part of the memory up to which each is given.
    ///
    /// Few edges get much, and many leave enough for those that turn out to be busy. A megabyte holds
    /// 8 ms of 1 Gbit/s, which is the time that it takes to notice.
    private static let firstByteCounts = [(4 << 20, part: 8), (1 << 20, part: 2)]
    /// The largest ring: more helps no edge that a sensor can follow.
    private static let edgeByteCountMax = 64 << 20
    /// The growth factor.
    ///
    /// The new ring is not read until the old one is drained (about 20 ms), so it must hold that much
    /// traffic: 16 MiB is 6 Gbit/s.
    private static let growth = 16

    /// The part of the memory that no ring grows into, if edges are captured inside pods.
    ///
    /// Such an edge cannot share a ring, which sees one namespace. A quarter of the usual memory is the
    /// smallest ring for 256 pods.
    private static let setAsidePart = 4

    /// Creates a budget, with the smallest ring set aside for edges that find no memory later.
    ///
    /// - Parameters:
    ///   - byteCountMax: The most bytes of all rings.
    ///   - hasPodTaps: Whether edges are captured inside pods, so that each needs a ring of its own.
    package init(byteCountMax: Int, hasPodTaps: Bool = false) {
        setAsideByteCount =
            Self.smallest.byteCount + (hasPodTaps ? byteCountMax / Self.setAsidePart : 0)
        self.byteCountMax = byteCountMax
        givenByteCount = byteCountMax
        usedByteCount = Self.smallest.byteCount
    }

    /// The smallest ring.
    package static let smallest = smallest(holding: 0)

    /// Returns the smallest ring whose blocks hold a frame of a size.
    package static func smallest(holding frameByteCount: Int) -> Ring.Shape {
        Ring.Shape(byteCountMax: 0, frameByteCountMax: frameByteCount)
    }

    /// Takes the memory for a new edge's ring.
    ///
    /// - Parameters:
    ///   - frameByteCount: The edge's largest frame.
    ///   - now: The time.
    /// - Returns: The ring's shape, whose blocks are too small for that frame if there is no memory
    ///   for larger ones; nil if not even the smallest ring fits.
    package mutating func takeFirst(
        holding frameByteCount: Int = 0, now: MonotonicTime
    ) -> Ring.Shape? {
        if now >= exhaustedUntil { byteCountMax = givenByteCount }
        return take(first(holding: frameByteCount)) ?? take(Self.smallest)
    }

    /// Returns the shape of a first ring.
    ///
    /// Where blocks are larger, the ring has as many: its reader has as much time for a lap.
    private func first(holding frameByteCount: Int) -> Ring.Shape {
        let smallest = Self.smallest(holding: frameByteCount)
        let scale = smallest.byteCount / Self.smallest.byteCount
        for (byteCount, part) in Self.firstByteCounts
        where usedByteCount + byteCount * scale <= byteCountMax / part {
            return Ring.Shape(
                byteCountMax: byteCount * scale, frameByteCountMax: frameByteCount)
        }
        return smallest
    }

    /// Takes the memory for a larger ring, beside which the present one keeps its own until it is closed.
    ///
    /// - Parameters:
    ///   - byteCount: The size of the present ring.
    ///   - frameByteCount: The edge's largest frame.
    ///   - failureCount: The number of rings in a row that were too small to replace it; each doubles
    ///     the size.
    /// - Returns: The ring's shape, or nil if there is no memory, or the present ring is the largest.
    package mutating func takeLarger(
        than byteCount: Int, holding frameByteCount: Int = 0, failureCount: Int = 0
    ) -> Ring.Shape? {
        guard canGrow(byteCount, holding: frameByteCount) else { return nil }
        return takeLeavingRoom(grown(byteCount << failureCount, holding: frameByteCount))
    }

    /// Takes the memory for a ring with larger blocks, and no fewer bytes than the present one if possible.
    ///
    /// - Parameters:
    ///   - frameByteCount: The edge's largest frame.
    ///   - byteCount: The size of the present ring.
    /// - Returns: The ring's shape, or nil if there is no memory.
    package mutating func takeHolding(
        _ frameByteCount: Int, insteadOf byteCount: Int
    ) -> Ring.Shape? {
        let same = Ring.Shape(byteCountMax: byteCount, frameByteCountMax: frameByteCount)
        let first = first(holding: frameByteCount)
        let large = same.byteCount > first.byteCount ? same : first
        return takeLeavingRoom(large) ?? takeLeavingRoom(first)
            ?? takeLeavingRoom(Self.smallest(holding: frameByteCount))
    }

    /// Takes the memory for a ring at the other end of an edge's pair, of the same size if possible.
    ///
    /// - Parameters:
    ///   - frameByteCount: The edge's largest frame.
    ///   - byteCount: The size of the present ring.
    /// - Returns: The ring's shape, or nil if there is no memory.
    package mutating func takeForOtherEnd(
        holding frameByteCount: Int, insteadOf byteCount: Int
    ) -> Ring.Shape? {
        let same = Ring.Shape(byteCountMax: byteCount, frameByteCountMax: frameByteCount)
        return takeLeavingRoom(same) ?? take(Self.smallest(holding: frameByteCount))
            ?? take(Self.smallest)
    }

    /// Takes the memory for the smallest ring whose blocks hold a frame of a size.
    package mutating func takeSmallest(holding frameByteCount: Int = 0) -> Ring.Shape? {
        take(Self.smallest(holding: frameByteCount))
    }

    /// Gives back the memory of a ring.
    package mutating func giveBack(_ byteCount: Int) {
        usedByteCount -= byteCount
    }

    /// Records that the kernel has no more memory than is in use; that is assumed for a minute.
    package mutating func markExhausted(now: MonotonicTime) {
        byteCountMax = usedByteCount
        exhaustedUntil = now + Self.exhaustion
    }

    /// Whether there is less memory than was given because the kernel had no more.
    package var isKernelExhausted: Bool { byteCountMax < givenByteCount }

    /// Whether a ring of this size can become larger at all.
    package func canGrow(_ byteCount: Int, holding frameByteCount: Int = 0) -> Bool {
        grown(byteCount, holding: frameByteCount).byteCount > byteCount
    }

    private func grown(_ byteCount: Int, holding frameByteCount: Int) -> Ring.Shape {
        let most = min(byteCount * Self.growth, Self.edgeByteCountMax, byteCountMax / 4)
        return Ring.Shape(byteCountMax: most, frameByteCountMax: frameByteCount)
    }

    /// Takes memory of which enough is left for edges to come, and to replace an idle ring.
    private mutating func takeLeavingRoom(_ shape: Ring.Shape) -> Ring.Shape? {
        guard usedByteCount + shape.byteCount + setAsideByteCount <= byteCountMax else {
            return nil
        }
        return take(shape)
    }

    private mutating func take(_ shape: Ring.Shape) -> Ring.Shape? {
        guard usedByteCount + shape.byteCount <= byteCountMax else { return nil }
        usedByteCount += shape.byteCount
        return shape
    }
}
