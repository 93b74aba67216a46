import Observation

/// When which edges' programs are to learn what their capture knows about services.
///
/// Making and placing a program takes some 100 microseconds, so on a node with many edges this is
/// done rarely and a few edges at a time; only what makes the programs drop too much is put right at
/// once.
struct DropList {
    /// What the programs that are placed from now on drop.
    private(set) var services: [ServiceKey: UInt16] = [:]
    /// What any program drops that is in place.
    private var placed: [ServiceKey: UInt16] = [:]
    private let edgeCount: Int
    private let intervalNanoseconds: UInt64
    private var lookedAt: UInt64 = 0
    private var changeCount = 0
    /// The edges take turns: the next one, and how many have programs from an older list.
    private var nextEdge = 0
    private var staleCount = 0

    /// For so long all packets of a new service may come to user space.
    private static let intervalNanosecondsMin: UInt64 = 500_000_000
    /// Keeps this work below a hundredth of a core.
    private static let intervalNanosecondsPerEdge: UInt64 = 10_000_000
    private static let edgeCountPerTurn = 8

    init(edgeCount: Int) {
        self.edgeCount = edgeCount
        intervalNanoseconds = max(
            Self.intervalNanosecondsMin, UInt64(edgeCount) * Self.intervalNanosecondsPerEdge)
    }

    /// The edges whose programs are to be replaced now.
    mutating func next(_ table: borrowing ServiceTable, now: UInt64) -> [Int] {
        var isWrong = false
        if table.changeCount != changeCount {
            changeCount = table.changeCount
            isWrong = table.contradicts(placed, now: now)
        }
        if isWrong || now - min(now, lookedAt) >= intervalNanoseconds {
            lookedAt = now
            look(at: table.dropList(now: now))
        }
        let count = isWrong ? staleCount : min(staleCount, Self.edgeCountPerTurn)
        defer {
            nextEdge = (nextEdge + count) % max(1, edgeCount)
            staleCount -= count
            if staleCount == 0 { placed = services }
        }
        return (0..<count).map { (nextEdge + $0) % edgeCount }
    }

    private mutating func look(at current: [ServiceKey: UInt16]) {
        guard current != services else { return }
        services = current
        staleCount = edgeCount
        // The lower port drops more.
        placed.merge(current) { min($0, $1) }
    }
}
