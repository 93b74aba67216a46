import RPCAP
import Synchronization

/// What all sessions of an agent together are doing and have done.
package final class Activity: Sendable {
    private let state = Mutex(State())

    private struct State {
        var captures: [ObjectIdentifier: Running] = [:]
        /// Of the captures that have ended.
        var totals = Totals()
        var clientCount = 0
    }

    private struct Running {
        let mode: ServerSession.Mode
        let counters: CaptureCounters
    }

    /// What has happened since the agent began.
    package struct Totals: Equatable, Sendable {
        /// Packets put on their way, segments one by one, and their bytes, headers included.
        package var packetCount: UInt64 = 0
        package var byteCount: UInt64 = 0
        package var droppedByRingCount: UInt64 = 0
        package var droppedByQueueCount: UInt64 = 0
        package var limitedCount: UInt64 = 0
        /// Sessions with sensors that were not the first.
        package var reconnectCount: UInt64 = 0

        package init() {}
    }

    /// How things are at a moment.
    package struct Snapshot: Equatable, Sendable {
        package var sensorsCapturingCount = 0
        package var clientsCapturingCount = 0
        package var clientCount = 0
        package var totals = Totals()

        package init() {}
    }

    func begin(_ counters: CaptureCounters, _ mode: ServerSession.Mode) {
        state.withLock {
            $0.captures[ObjectIdentifier(counters)] = Running(mode: mode, counters: counters)
        }
    }

    /// The capture has ended, and nothing is counted any more.
    func end(_ counters: CaptureCounters) {
        state.withLock {
            guard $0.captures.removeValue(forKey: ObjectIdentifier(counters)) != nil else { return }
            $0.totals.add(counters)
        }
    }

    func clientLoggedIn() { state.withLock { $0.clientCount += 1 } }

    func clientLeft() { state.withLock { $0.clientCount -= 1 } }

    func sensorReconnected() { state.withLock { $0.totals.reconnectCount += 1 } }

    var snapshot: Snapshot {
        state.withLock { state in
            var snapshot = Snapshot()
            snapshot.clientCount = state.clientCount
            snapshot.totals = state.totals
            for capture in state.captures.values {
                switch capture.mode {
                case .active: snapshot.sensorsCapturingCount += 1
                case .passive: snapshot.clientsCapturingCount += 1
                }
                snapshot.totals.add(capture.counters)
            }
            return snapshot
        }
    }
}

extension Activity.Totals {
    fileprivate mutating func add(_ counters: CaptureCounters) {
        packetCount += counters.packetsQueued.load(ordering: .relaxed)
        byteCount += counters.bytesQueued.load(ordering: .relaxed)
        droppedByRingCount += counters.frames.droppedByRing.load(ordering: .relaxed)
        droppedByQueueCount += counters.frames.droppedByQueue.load(ordering: .relaxed)
        limitedCount += counters.frames.limited.load(ordering: .relaxed)
    }

    static func - (left: Self, right: Self) -> Self {
        var rest = left
        rest.packetCount -= right.packetCount
        rest.byteCount -= right.byteCount
        rest.droppedByRingCount -= right.droppedByRingCount
        rest.droppedByQueueCount -= right.droppedByQueueCount
        rest.limitedCount -= right.limitedCount
        rest.reconnectCount -= right.reconnectCount
        return rest
    }
}
