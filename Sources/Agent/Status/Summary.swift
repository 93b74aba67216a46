package import Logging

import Log

/// The line of the log that says once a minute what the agent has done since the last one. Where
/// nothing changes it comes every quarter of an hour, to say that the agent is there.
package struct Summary: Sendable {
    private var told: State
    private var toldAt: UInt64
    package private(set) var dueAt: UInt64

    package static let nanosecondsMin: UInt64 = 60_000_000_000
    package static let nanosecondsMax: UInt64 = 900_000_000_000

    /// What a line tells of.
    package struct State: Equatable, Sendable {
        package var activity: Activity.Snapshot
        package var sensorCount: Int
        package var edgeCount: Int
        /// Of them those whose pods' addresses are not known.
        package var blindEdgeCount: Int

        package init(
            _ activity: Activity.Snapshot, sensorCount: Int, edgeCount: Int, blindEdgeCount: Int
        ) {
            self.activity = activity
            self.sensorCount = sensorCount
            self.edgeCount = edgeCount
            self.blindEdgeCount = blindEdgeCount
        }
    }

    /// Begins with what the log knows by other lines.
    package init(_ state: State, now: UInt64) {
        told = state
        toldAt = now
        dueAt = now + Self.nanosecondsMin
    }

    /// What the line is to say; nil for no line now.
    package mutating func next(_ state: State, now: UInt64) -> Logger.Metadata? {
        guard now >= dueAt else { return nil }
        dueAt += Self.nanosecondsMin
        // A node that was asleep has nothing to catch up with.
        if dueAt <= now { dueAt = now + Self.nanosecondsMin }
        guard state != told || now >= toldAt + Self.nanosecondsMax else { return nil }
        defer { (told, toldAt) = (state, now) }
        let (activity, done) = (state.activity, state.activity.totals - told.activity.totals)
        return [
            "seconds": .number((now - toldAt + 500_000_000) / 1_000_000_000),
            "sensors": .number(state.sensorCount),
            "sensors_capturing": .number(activity.sensorsCapturingCount),
            "clients": .number(activity.clientCount),
            "clients_capturing": .number(activity.clientsCapturingCount),
            "edges": .number(state.edgeCount), "blind_edges": .number(state.blindEdgeCount),
            "packets": .number(done.packetCount), "bytes": .number(done.byteCount),
            "dropped_by_ring": .number(done.droppedByRingCount),
            "dropped_by_queue": .number(done.droppedByQueueCount),
            "limited": .number(done.limitedCount), "reconnects": .number(done.reconnectCount),
        ]
    }
}
