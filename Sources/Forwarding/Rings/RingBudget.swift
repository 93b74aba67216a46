package import PacketRing
package import Time

/// The memory of a capture's rings, and which edge gets how much of it.
///
/// All captures draw on the memory of the node (`RingMemory`), and what one edge gets depends on what
/// is left there. Every edge begins with a small ring. Edges that carry much get a larger one, but all
/// rings together never take more than was given.
///
/// There is one exception: each capture has the smallest ring at its disposal, whatever others have
/// taken, so that it can serve edges by a shared ring. Each capture may exceed the memory by that ring.
package struct RingBudget {
    /// What the capture's rings take, and have reserved, of the node's memory.
    private let share: RingMemory.Share
    /// The number of bytes that are left to edges that are to come, when rings grow.
    private let setAsideByteCount: Int

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

    /// Creates a capture's budget, with the smallest ring set aside for edges that find no memory later.
    ///
    /// When the budget and all its copies are gone, all that it holds has been given back.
    ///
    /// - Parameters:
    ///   - memory: The memory of the node's rings.
    ///   - hasPodTaps: Whether edges are captured inside pods, so that each needs a ring of its own.
    ///   - isClient: Whether the capture is a client's.
    package init(_ memory: RingMemory, hasPodTaps: Bool = false, isClient: Bool = false) {
        setAsideByteCount =
            Self.smallest.byteCount
            + (hasPodTaps ? memory.byteCountMax / Self.setAsidePart : 0)
        share = memory.share(isClient: isClient)
        share.takeRegardless(Self.smallest.byteCount)
    }

    /// The number of bytes that the capture's rings take or have reserved.
    package var byteCount: Int { share.byteCount }

    /// The most bytes of all captures' rings now.
    package var byteCountMax: Int { share.memory.byteCountMax }

    /// The number of bytes that all captures' rings take or have reserved.
    package var usedByteCount: Int { share.memory.usedByteCount }

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
        share.memory.endExhaustion(now: now)
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

    /// Takes the memory for a ring that is just large enough for the blocks of large rings.
    ///
    /// - Parameters:
    ///   - byteCount: The size of the present ring.
    ///   - frameByteCount: The edge's largest frame.
    /// - Returns: The ring's shape, or nil if there is no memory, or the present ring is as large.
    package mutating func takeLarge(
        than byteCount: Int, holding frameByteCount: Int = 0
    ) -> Ring.Shape? {
        let size = Ring.Shape.largeByteCount
        guard size > byteCount, size <= byteCountMax / 4 else { return nil }
        return takeLeavingRoom(
            Ring.Shape(byteCountMax: size, frameByteCountMax: frameByteCount))
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

    /// The fewest blocks that a ring at the other end of a pair should have, or one that follows a slow
    /// ring.
    ///
    /// It is not read until the old ring is drained, and the kernel uses up a block every 20 ms
    /// however little passes: this many last for 320 ms, where 30 to 60 are the rule. A slow ring may
    /// take 180 ms longer.
    private static let otherEndBlockCount = 16
    /// How much larger a ring at the other end is, by powers of two, after each that was too small.
    private static let otherEndGrowth = 2

    /// Takes the memory for a ring at the other end of an edge's pair, which gets all that passes
    /// there for a while before it is read.
    ///
    /// - Parameters:
    ///   - frameByteCount: The edge's largest frame.
    ///   - byteCount: The size of the present ring.
    ///   - failureCount: The number of rings in a row that were too small.
    /// - Returns: The ring's shape, or nil if there is no memory for one that is large enough.
    package mutating func takeForOtherEnd(
        holding frameByteCount: Int, insteadOf byteCount: Int, failureCount: Int = 0
    ) -> Ring.Shape? {
        let smallest = Self.smallest(holding: frameByteCount)
        let least = max(byteCount, Self.otherEndBlockCount * Int(smallest.blockByteCount))
        let most = min(
            least << (failureCount * Self.otherEndGrowth), Self.edgeByteCountMax,
            byteCountMax / 4)
        var size = max(most, smallest.byteCount)
        repeat {
            let shape = Ring.Shape(
                byteCountMax: size, frameByteCountMax: frameByteCount, hasManyBlocks: true)
            if let shape = takeLeavingRoom(shape) { return shape }
            size /= 2
        } while size >= least
        return nil
    }

    /// Takes the memory for a quick ring after a slow one, which gets all that passes for a while before
    /// it is read.
    ///
    /// - Parameters:
    ///   - frameByteCount: The edge's largest frame.
    ///   - byteCount: The size of the present ring.
    ///   - failureCount: The number of rings in a row that were too small.
    /// - Returns: The ring's shape, or nil if there is no memory for one that is large enough.
    package mutating func takeAfterSlow(
        holding frameByteCount: Int, insteadOf byteCount: Int, failureCount: Int = 0
    ) -> Ring.Shape? {
        // One of half as many blocks may do: a slow ring's block is half as old as it can get.
        takeForOtherEnd(
            holding: frameByteCount, insteadOf: byteCount, failureCount: min(failureCount, 2))
            ?? (failureCount == 0
                ? takeShrunk(holding: frameByteCount, leaving: setAsideByteCount) : nil)
    }

    /// Takes the memory for a slow ring, beside which the quick one keeps its own until it is closed.
    ///
    /// It is as large, but no larger than a first ring: what comes after a silence must find as much
    /// room as at a new edge.
    package mutating func takeSlow(
        holding frameByteCount: Int, insteadOf byteCount: Int
    ) -> Ring.Shape? {
        let smallest = Self.smallest(holding: frameByteCount)
        let scale = smallest.byteCount / Self.smallest.byteCount
        let most = min(byteCount, Self.firstByteCounts[0].0 * scale)
        return take(
            Ring.Shape(byteCountMax: most, frameByteCountMax: frameByteCount).paced(.slow))
    }

    /// Takes what memory there is for a ring at the other end of an edge's pair.
    ///
    /// It may be too small if much passes there. It takes no more than half of what is left to edges to
    /// come, beside what the present ring gives back.
    ///
    /// - Parameters:
    ///   - frameByteCount: The edge's largest frame.
    ///   - byteCount: The size of the present ring.
    /// - Returns: The ring's shape, or nil if there is no memory.
    package mutating func takeRestForOtherEnd(
        holding frameByteCount: Int, insteadOf byteCount: Int
    ) -> Ring.Shape? {
        let smallest = Self.smallest(holding: frameByteCount)
        var size = Self.otherEndBlockCount * Int(smallest.blockByteCount)
        while size > max(byteCount, smallest.byteCount) {
            let shape = Ring.Shape(byteCountMax: size, frameByteCountMax: frameByteCount)
            if let shape = take(shape, leaving: setAsideByteCount / 2) { return shape }
            size /= 2
        }
        let same = Ring.Shape(byteCountMax: byteCount, frameByteCountMax: frameByteCount)
        return take(same) ?? take(smallest) ?? take(Self.smallest)
    }

    /// Returns a ring to which a larger one can shrink while its edge has traffic.
    package static func shrunk(holding frameByteCount: Int) -> Ring.Shape {
        Ring.Shape(
            byteCountMax: otherEndBlockCount / 2
                * Int(smallest(holding: frameByteCount).blockByteCount),
            frameByteCountMax: frameByteCount)
    }

    /// Takes the memory for such a ring.
    package mutating func takeShrunk(
        holding frameByteCount: Int, leaving rest: Int = 0
    ) -> Ring.Shape? {
        take(Self.shrunk(holding: frameByteCount), leaving: rest)
    }

    /// Takes the memory for the smallest ring whose blocks hold a frame of a size.
    package mutating func takeSmallest(holding frameByteCount: Int = 0) -> Ring.Shape? {
        take(Self.smallest(holding: frameByteCount))
    }

    /// Gives back the memory of a ring.
    package mutating func giveBack(_ byteCount: Int) {
        share.giveBack(byteCount)
    }

    /// Records that the kernel has no more memory than is in use; that is assumed for a minute.
    package mutating func markExhausted(now: MonotonicTime) {
        share.memory.markExhausted(now: now)
    }

    /// Whether there is less memory than was given because the kernel had no more.
    package var isKernelExhausted: Bool { share.memory.isKernelExhausted }

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
        take(shape, leaving: setAsideByteCount)
    }

    private mutating func take(_ shape: Ring.Shape, leaving rest: Int = 0) -> Ring.Shape? {
        share.take(shape.byteCount, leaving: rest) ? shape : nil
    }
}
