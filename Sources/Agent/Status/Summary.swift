import Forwarding
import Log
package import Logging
import Metrics
package import Time

/// The line `summary` of the log, with what the agent did since the last one.
///
/// It comes once a minute, and when it is asked for. While nothing changes it comes every quarter of an hour,
/// as a sign of life.
package struct Summary: Sendable {
    private var last: State
    private var lastTime: MonotonicTime
    /// When to ask for the next line.
    package private(set) var deadline: MonotonicTime

    /// The interval between lines.
    package static let interval = Duration.seconds(60)
    /// The interval between lines while nothing changes.
    package static let quietInterval = Duration.seconds(900)

    /// What a line is made from.
    package struct State: Equatable, Sendable {
        /// Sensors of the settings.
        package var sensorCount = 0
        /// Sensors that capture.
        package var capturingSensorCount = 0
        /// Clients that are connected.
        package var clientCount = 0
        /// Captures of clients.
        package var capturingClientCount = 0
        /// Edges of the node.
        package var edgeCount = 0
        /// Edges whose pods' addresses are not known.
        package var edgeCountWithoutAddresses = 0
        /// What was counted.
        package var totals = Totals()

        /// The state of an agent without edges or peers.
        package init() {}
    }

    /// Counts since the agent started.
    package struct Totals: Equatable, Sendable {
        /// Packets put into send queues, segments one by one.
        package var packetCount: UInt64 = 0
        /// Bytes of these packets, including headers.
        package var byteCount: UInt64 = 0
        /// Frames lost in rings.
        package var droppedByRingCount: UInt64 = 0
        /// Frames lost because a block was too small.
        package var droppedByBlockCount: UInt64 = 0
        /// Frames lost at send queues.
        package var droppedByQueueCount: UInt64 = 0
        /// Frames left out by the rate limit.
        package var limitedCount: UInt64 = 0
        /// Held requests that nobody answered in time.
        package var requestsUnansweredCount: UInt64 = 0
        /// Requests that were not held, for any reason.
        package var requestsNotHeldCount: UInt64 = 0
        /// Sessions with sensors that were not the first.
        package var reconnectCount: UInt64 = 0

        /// The counts of an agent that has just started.
        package init() {}
    }

    /// A summary that follows a state, which other lines of the log have told.
    package init(_ state: State, now: MonotonicTime) {
        last = state
        lastTime = now
        deadline = now + Self.interval
    }

    /// The metadata of the line to log now.
    ///
    /// - Parameters:
    ///   - state: The state now.
    ///   - isAsked: Whether somebody waits for a line, which is then due, whatever has changed.
    ///   - now: The time.
    /// - Returns: Nil if no line is due.
    package mutating func next(
        _ state: State, isAsked: Bool = false, now: MonotonicTime
    ) -> Logger.Metadata? {
        guard isAsked || now >= deadline else { return nil }
        deadline += Self.interval
        // A node that was asleep does not catch up, and a line that was asked for begins a new interval.
        if isAsked || deadline <= now { deadline = now + Self.interval }
        guard isAsked || state != last || now >= lastTime + Self.quietInterval else { return nil }
        defer { (last, lastTime) = (state, now) }
        let (before, after) = (last.totals, state.totals)
        return [
            "seconds": .number((now - lastTime + .milliseconds(500)).components.seconds),
            "sensors": .number(state.sensorCount),
            "sensors_capturing": .number(state.capturingSensorCount),
            "clients": .number(state.clientCount),
            "clients_capturing": .number(state.capturingClientCount),
            "edge_count": .number(state.edgeCount),
            "edges_without_addresses": .number(state.edgeCountWithoutAddresses),
            "packets": .number(after.packetCount - before.packetCount),
            "bytes": .number(after.byteCount - before.byteCount),
            "dropped_by_ring": .number(after.droppedByRingCount - before.droppedByRingCount),
            "dropped_by_block": .number(after.droppedByBlockCount - before.droppedByBlockCount),
            "dropped_by_queue": .number(after.droppedByQueueCount - before.droppedByQueueCount),
            "limited": .number(after.limitedCount - before.limitedCount),
            "requests_unanswered": .number(
                after.requestsUnansweredCount - before.requestsUnansweredCount),
            "requests_not_held": .number(
                after.requestsNotHeldCount - before.requestsNotHeldCount),
            "reconnects": .number(after.reconnectCount - before.reconnectCount),
        ]
    }
}

extension AgentStatus {
    /// Sets the peers and the counts of a summary's state.
    func describe(in state: inout Summary.State) {
        let totals = totals
        state.sensorCount = sensors.count
        state.capturingSensorCount = sensors.count { !$0.captures.isEmpty }
        state.clientCount = clients?.sessions.value ?? 0
        state.capturingClientCount = clients?.captures.count ?? 0
        state.totals.packetCount = totals[.packetsSent]
        state.totals.byteCount = totals[.bytesSent]
        state.totals.droppedByRingCount = totals.frames[.droppedByRing]
        state.totals.droppedByBlockCount = totals.frames[.droppedByBlock]
        state.totals.droppedByQueueCount = totals.frames[.droppedByQueue]
        state.totals.limitedCount = totals.frames[.limited]
        state.totals.requestsUnansweredCount = totals.frames[.unanswered]
        state.totals.requestsNotHeldCount =
            totals.frames[.tableFull] + totals.frames[.tooLong] + totals.frames[.foreignSource]
        state.totals.reconnectCount = sensors.reduce(0) { count, sensor in
            count + max(1, sensor.sessionsBegun.value) - 1
        }
    }
}
