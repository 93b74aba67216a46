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

    /// Creates a budget, with the smallest ring set aside for edges that find no memory later.
    package init(byteCountMax: Int) {
        self.byteCountMax = byteCountMax
        givenByteCount = byteCountMax
        usedByteCount = Self.smallest.byteCount
    }

    /// The smallest ring.
    package static let smallest = Ring.Shape(byteCountMax: 0)

    /// Takes the memory for a new edge's ring.
    ///
    /// - Returns: The ring's shape, or nil if not even the smallest one fits.
    package mutating func takeFirst(now: MonotonicTime) -> Ring.Shape? {
        if now >= exhaustedUntil { byteCountMax = givenByteCount }
        for (byteCount, part) in Self.firstByteCounts
        where usedByteCount + byteCount <= byteCountMax / part {
            return take(Ring.Shape(byteCountMax: byteCount))
        }
        return take(Self.smallest)
    }

    /// Takes the memory for a larger ring, beside which the present one keeps its own until it is closed.
    ///
    /// - Parameters:
    ///   - byteCount: The size of the present ring.
    ///   - failureCount: The number of rings in a row that were too small to replace it; each doubles
    ///     the size.
    /// - Returns: The ring's shape, or nil if there is no memory, or the present ring is the largest.
    package mutating func takeLarger(than byteCount: Int, failureCount: Int = 0) -> Ring.Shape? {
        guard canGrow(byteCount) else { return nil }
        // What is left allows an idle ring to be replaced by the smallest.
        let shape = Ring.Shape(byteCountMax: grown(byteCount << failureCount))
        guard usedByteCount + shape.byteCount + Self.smallest.byteCount <= byteCountMax else {
            return nil
        }
        return take(shape)
    }

    /// Takes the memory for the smallest ring.
    package mutating func takeSmallest() -> Ring.Shape? { take(Self.smallest) }

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
    package func canGrow(_ byteCount: Int) -> Bool { grown(byteCount) > byteCount }

    private func grown(_ byteCount: Int) -> Int {
        let most = min(byteCount * Self.growth, Self.edgeByteCountMax, byteCountMax / 4)
        return Ring.Shape(byteCountMax: most).byteCount
    }

    private mutating func take(_ shape: Ring.Shape) -> Ring.Shape? {
        guard usedByteCount + shape.byteCount <= byteCountMax else { return nil }
        usedByteCount += shape.byteCount
        return shape
    }
}
