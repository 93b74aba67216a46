package import Time

/// The times at which interfaces without a host end are listed.
///
/// Nothing in the node's namespace tells of them. They are listed when something else has happened
/// that may have to do with them, again when a runtime has had time to finish, and now and then.
package struct PodInterfaceSchedule: Sendable {
    private var dueTimes: [MonotonicTime] = []
    private var listedAt: MonotonicTime?

    /// A schedule on which nothing is due.
    package init() {}

    /// The delays after an event.
    package static let delays: [Duration] = [.zero, .milliseconds(200), .seconds(1), .seconds(5)]
    /// The shortest time between two listings, each of which takes 50 ms for 250 pods.
    package static let intervalMin = Duration.milliseconds(100)

    /// Schedules listings after an event.
    ///
    /// Listings that earlier events have scheduled are dropped if they are later than the first of these.
    package mutating func request(now: MonotonicTime) {
        let first = max(now, (listedAt ?? .zero) + Self.intervalMin)
        let next = dueTimes.first.map { min($0, first) } ?? first
        dueTimes = [next] + Self.delays.dropFirst().map { now + $0 }.filter { $0 > next }
    }

    /// Takes the listing if one is due.
    package mutating func takeDue(now: MonotonicTime) -> Bool {
        guard let first = dueTimes.first, first <= now else { return false }
        dueTimes.removeAll { $0 <= now }
        listedAt = now
        return true
    }

    /// When the next listing is due.
    package var dueAt: MonotonicTime { dueTimes.first ?? .distantFuture }
}
