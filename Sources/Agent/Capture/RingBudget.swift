import Capture

/// How the memory of a capture's rings is shared out: all edges have a small one, and those that
/// carry much a larger one, but never more together than was given.
struct RingBudget {
    private(set) var byteCountMax: Int
    private(set) var usedByteCount = 0

    /// What an edge begins with while there is plenty: at a megabit it holds seconds, at a gigabit
    /// 8 milliseconds, which is as long as it takes to notice.
    private static let plentyByteCount = 1 << 20
    /// More helps no edge that a sensor can follow.
    private static let edgeByteCountMax = 64 << 20
    /// What a ring grows by.
    private static let growth = 4

    /// One of the smallest rings is set aside for the edges that find no memory any more.
    init(byteCountMax: Int) {
        self.byteCountMax = byteCountMax
        usedByteCount = Self.smallest.byteCount
    }

    static let smallest = Ring.Shape(byteCountMax: 0)

    /// Takes the memory for a new edge's ring; nil if not even the smallest one fits.
    mutating func first() -> Ring.Shape? {
        let isPlenty = usedByteCount + Self.plentyByteCount <= byteCountMax / 2
        return take(isPlenty ? Ring.Shape(byteCountMax: Self.plentyByteCount) : Self.smallest)
    }

    /// Takes the memory for a larger ring, which the present one keeps its own beside until it is
    /// closed; nil if there is none, or it is large enough.
    mutating func larger(than byteCount: Int) -> Ring.Shape? {
        guard canGrow(byteCount) else { return nil }
        return take(Ring.Shape(byteCountMax: grown(byteCount)))
    }

    /// Whether there is a larger ring than this one at all.
    func canGrow(_ byteCount: Int) -> Bool { grown(byteCount) > byteCount }

    private func grown(_ byteCount: Int) -> Int {
        min(byteCount * Self.growth, Self.edgeByteCountMax, byteCountMax / 4)
    }

    /// Takes the memory for the smallest ring.
    mutating func smallest() -> Ring.Shape? { take(Self.smallest) }

    private mutating func take(_ shape: Ring.Shape) -> Ring.Shape? {
        guard usedByteCount + shape.byteCount <= byteCountMax else { return nil }
        usedByteCount += shape.byteCount
        return shape
    }

    /// Takes note that the kernel has no more memory than is in use.
    mutating func isExhausted() {
        byteCountMax = usedByteCount
    }

    mutating func giveBack(_ byteCount: Int) {
        usedByteCount -= byteCount
    }
}
