package import PacketRing

/// How the memory of a capture's rings is shared out: all edges have a small one, and those that
/// carry much a larger one, but never more together than was given.
package struct RingBudget {
    private(set) var byteCountMax: Int
    private(set) var usedByteCount = 0
    private let givenByteCount: Int
    private var exhaustedAt: UInt64 = 0

    /// How long the kernel is believed to have no more memory.
    private static let exhaustionNanoseconds: UInt64 = 60_000_000_000

    /// What edges begin with, by which part of the memory they may use up together: few edges have it
    /// easy, and many leave enough for those that turn out to be busy. A megabyte holds 8 milliseconds
    /// of a gigabit, which is as long as it takes to notice.
    private static let firstByteCounts = [(4 << 20, part: 8), (1 << 20, part: 2)]
    /// More helps no edge that a sensor can follow.
    private static let edgeByteCountMax = 64 << 20
    /// What a ring grows by. Until the old one is given up nobody reads the new one, which so has to
    /// hold what comes in some 20 ms: of 16 MiB that are 6 Gbit/s.
    private static let growth = 16

    /// One of the smallest rings is set aside for the edges that find no memory any more.
    init(byteCountMax: Int) {
        self.byteCountMax = byteCountMax
        givenByteCount = byteCountMax
        usedByteCount = Self.smallest.byteCount
    }

    package static let smallest = Ring.Shape(byteCountMax: 0)

    /// Takes the memory for a new edge's ring; nil if not even the smallest one fits.
    mutating func first(now: UInt64) -> Ring.Shape? {
        if now >= exhaustedAt + Self.exhaustionNanoseconds { byteCountMax = givenByteCount }
        for (byteCount, part) in Self.firstByteCounts
        where usedByteCount + byteCount <= byteCountMax / part {
            return take(Ring.Shape(byteCountMax: byteCount))
        }
        return take(Self.smallest)
    }

    /// Takes the memory for a larger ring, which the present one keeps its own beside until it is
    /// closed; nil if there is none, or it is large enough. Larger still where so many have failed,
    /// which were too small then.
    mutating func larger(than byteCount: Int, failureCount: Int = 0) -> Ring.Shape? {
        guard canGrow(byteCount) else { return nil }
        // What is left lets an idle ring be made smaller.
        let shape = Ring.Shape(byteCountMax: grown(byteCount << failureCount))
        guard usedByteCount + shape.byteCount + Self.smallest.byteCount <= byteCountMax else {
            return nil
        }
        return take(shape)
    }

    /// Whether there is a larger ring than this one at all.
    func canGrow(_ byteCount: Int) -> Bool { grown(byteCount) > byteCount }

    private func grown(_ byteCount: Int) -> Int {
        let most = min(byteCount * Self.growth, Self.edgeByteCountMax, byteCountMax / 4)
        return Ring.Shape(byteCountMax: most).byteCount
    }

    /// Takes the memory for the smallest ring.
    mutating func smallest() -> Ring.Shape? { take(Self.smallest) }

    private mutating func take(_ shape: Ring.Shape) -> Ring.Shape? {
        guard usedByteCount + shape.byteCount <= byteCountMax else { return nil }
        usedByteCount += shape.byteCount
        return shape
    }

    /// Takes note that the kernel has no more memory than is in use, for now.
    mutating func isExhausted(now: UInt64) {
        byteCountMax = usedByteCount
        exhaustedAt = now
    }

    /// Whether it is for that reason that there is less than was given.
    var isKernelExhausted: Bool { byteCountMax < givenByteCount }

    mutating func giveBack(_ byteCount: Int) {
        usedByteCount -= byteCount
    }
}
