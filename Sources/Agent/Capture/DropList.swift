import Observation

/// When which edges' programs are to learn what their capture knows about services.
///
/// Making and placing a program takes some 100 microseconds, so on a node with many edges this is
/// done rarely and a few edges at a time; only what makes the programs drop too much is put right at
/// once.
struct DropList {
    /// What the programs that are placed from now on drop.
    private(set) var services: [ServiceKey: UInt16] = [:]
    private let edgeCount: Int
    private let intervalNanoseconds: UInt64
    private var lookedAt: UInt64 = 0
    private var correctionCount = 0
    /// The edges from this one on still have programs from an older list.
    private var nextEdge: Int

    /// A second with a new service is as long as its packets may all come to user space.
    private static let intervalNanosecondsMin: UInt64 = 500_000_000
    /// Keeps this work below a hundredth of a core.
    private static let intervalNanosecondsPerEdge: UInt64 = 10_000_000
    private static let edgeCountPerTurn = 8

    init(edgeCount: Int) {
        self.edgeCount = edgeCount
        nextEdge = edgeCount
        intervalNanoseconds = max(
            Self.intervalNanosecondsMin, UInt64(edgeCount) * Self.intervalNanosecondsPerEdge)
    }

    /// The edges whose programs are to be replaced now, if any.
    mutating func next(_ table: borrowing ServiceTable, now: UInt64) -> Range<Int>? {
        let isWrong = table.correctionCount != correctionCount
        if isWrong || now >= lookedAt + intervalNanoseconds {
            lookedAt = now
            correctionCount = table.correctionCount
            let current = table.dropList(now: now)
            if current != services {
                services = current
                nextEdge = 0
            }
        }
        guard nextEdge < edgeCount else { return nil }
        let end = isWrong ? edgeCount : min(edgeCount, nextEdge + Self.edgeCountPerTurn)
        defer { nextEdge = end }
        return nextEdge..<end
    }
}
