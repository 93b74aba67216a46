package import Time

/// What the edges' programs know of services and fronts, and when they learn of a change.
///
/// Making and installing a program takes about 100 microseconds. So on a node with many edges this
/// happens rarely, and for a few edges at a time. Only a list that makes the programs drop too much is
/// corrected at once.
package struct ServiceDropList {
    /// The services that programs drop if they are installed from now on.
    package private(set) var services: [ServiceKey: UInt16] = [:]
    /// The fronts whose packets programs punt if they are installed from now on.
    package private(set) var fronts: Set<ServiceKey> = []
    private var frontChangeCount = 0
    /// The services that any installed program drops.
    private var installed: [ServiceKey: UInt16] = [:]
    /// When the next look is due: a time, since durations are dear to compute in each turn.
    private var dueAt = MonotonicTime.zero
    private var changeCount = 0

    package init() {}

    /// The shortest interval, during which all packets of a new service may come to user space.
    private static let intervalMin = Duration.milliseconds(500)
    /// The shortest interval for new fronts, while programs filter.
    private static let frontInterval = Duration.milliseconds(20)
    /// The interval for each edge, which keeps this work below a hundredth of a core.
    private static let intervalPerEdge = Duration.milliseconds(10)
    /// The number of edges that get their programs in one turn of the forwarder.
    package static let edgeCountPerTurn = 8

    /// Takes over what the tables know by now, unless it did so a moment ago.
    ///
    /// - Returns: Whether the installed programs drop too much.
    package mutating func refresh(
        at table: borrowing ServiceTable, _ frontTable: borrowing FrontTable, edgeCount: Int,
        areSelecting: Bool = false, now: MonotonicTime
    ) -> Bool {
        // A program that filters by the form that packets have at a client's edge may drop what is
        // reported in another form.
        var isWrong =
            areSelecting && frontTable.changeCount != frontChangeCount
            && now >= dueAt - Self.intervalMin + Self.frontInterval
        if table.changeCount != changeCount {
            changeCount = table.changeCount
            isWrong = table.contradicts(installed, now: now) || isWrong
        }
        guard isWrong || now >= dueAt else { return false }
        dueAt = now + max(Self.intervalMin, Self.intervalPerEdge * edgeCount)
        if frontTable.changeCount != frontChangeCount {
            frontChangeCount = frontTable.changeCount
            fronts = frontTable.keys
        }
        let current = table.dropList(now: now)
        if current != services {
            services = current
            // The lower port drops more.
            installed.merge(current) { min($0, $1) }
        }
        return isWrong
    }

    /// Records that all installed programs are made from the present list.
    package mutating func markInstalled() {
        installed = services
    }
}
