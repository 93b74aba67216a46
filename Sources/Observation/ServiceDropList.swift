/// When the edges' programs are to learn what their capture knows about services.
///
/// Making and placing a program takes some 100 microseconds, so on a node with many edges this is
/// done rarely, and a few edges at a time; only what makes the programs drop too much is put right
/// at once.
package struct ServiceDropList {
    /// What the programs that are placed from now on drop.
    package private(set) var services: [ServiceKey: UInt16] = [:]
    /// What any program drops that is in place.
    private var placed: [ServiceKey: UInt16] = [:]
    private var lookedAt: UInt64 = 0
    private var changeCount = 0

    package init() {}

    /// For so long all packets of a new service may come to user space.
    private static let intervalNanosecondsMin: UInt64 = 500_000_000
    /// Keeps this work below a hundredth of a core.
    private static let intervalNanosecondsPerEdge: UInt64 = 10_000_000
    /// How many edges get their programs in one turn of the forwarder.
    package static let edgeCountPerTurn = 8

    /// Looks at what is known by now. Answers whether the programs in place drop too much.
    package mutating func refresh(
        at table: borrowing ServiceTable, edgeCount: Int, now: UInt64
    ) -> Bool {
        var isWrong = false
        if table.changeCount != changeCount {
            changeCount = table.changeCount
            isWrong = table.contradicts(placed, now: now)
        }
        let interval = max(
            Self.intervalNanosecondsMin, UInt64(edgeCount) * Self.intervalNanosecondsPerEdge)
        guard isWrong || now - min(now, lookedAt) >= interval else { return false }
        lookedAt = now
        let current = table.dropList(now: now)
        if current != services {
            services = current
            // The lower port drops more.
            placed.merge(current) { min($0, $1) }
        }
        return isWrong
    }

    /// Takes note that no program is in place that was made from an older list.
    package mutating func markInstalled() {
        placed = services
    }
}
