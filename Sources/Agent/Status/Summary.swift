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
        package var sensorCount = 0
        package var capturingSensorCount = 0
        package var clientCount = 0
        package var capturingClientCount = 0
        package var edgeCount = 0
        /// Of them those whose pods' addresses are not known.
        package var blindEdgeCount = 0
        package var totals = Totals()

        package init() {}
    }

    /// What has happened since the agent began.
    package struct Totals: Equatable, Sendable {
        /// Packets put on their way, segments one by one, and their bytes, headers included.
        package var packetCount: UInt64 = 0
        package var byteCount: UInt64 = 0
        /// Frames.
        package var droppedByRingCount: UInt64 = 0
        package var droppedByQueueCount: UInt64 = 0
        package var limitedCount: UInt64 = 0
        /// Sessions with sensors that were not the first.
        package var reconnectCount: UInt64 = 0

        package init() {}
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
        let (before, after) = (told.totals, state.totals)
        return [
            "seconds": .number((now - toldAt + 500_000_000) / 1_000_000_000),
            "sensors": .number(state.sensorCount),
            "sensors_capturing": .number(state.capturingSensorCount),
            "clients": .number(state.clientCount),
            "clients_capturing": .number(state.capturingClientCount),
            "edge_count": .number(state.edgeCount), "blind_edges": .number(state.blindEdgeCount),
            "packets": .number(after.packetCount - before.packetCount),
            "bytes": .number(after.byteCount - before.byteCount),
            "dropped_by_ring": .number(after.droppedByRingCount - before.droppedByRingCount),
            "dropped_by_queue": .number(after.droppedByQueueCount - before.droppedByQueueCount),
            "limited": .number(after.limitedCount - before.limitedCount),
            "reconnects": .number(after.reconnectCount - before.reconnectCount),
        ]
    }
}
