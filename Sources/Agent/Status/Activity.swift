import RPCAP
import Synchronization

/// What all sessions of an agent together are doing and have done.
final class Activity: Sendable {
    private let state = Mutex(State())

    private struct State {
        var captures: [ObjectIdentifier: Running] = [:]
        /// Of the captures that have ended.
        var totals = Summary.Totals()
        var clientCount = 0
    }

    private struct Running {
        let mode: ServerSession.Mode
        let counters: CaptureCounters
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

    /// Adds what there is of it to a summary.
    func add(to summary: inout Summary.State) {
        state.withLock { state in
            summary.clientCount = state.clientCount
            summary.totals = state.totals
            for capture in state.captures.values {
                switch capture.mode {
                case .active: summary.capturingSensorCount += 1
                case .passive: summary.capturingClientCount += 1
                }
                summary.totals.add(capture.counters)
            }
        }
    }
}

extension Summary.Totals {
    fileprivate mutating func add(_ counters: CaptureCounters) {
        packetCount += counters.packetsQueued.load(ordering: .relaxed)
        byteCount += counters.bytesQueued.load(ordering: .relaxed)
        droppedByRingCount += counters.frames.droppedByRing.load(ordering: .relaxed)
        droppedByQueueCount += counters.frames.droppedByQueue.load(ordering: .relaxed)
        limitedCount += counters.frames.limited.load(ordering: .relaxed)
    }
}
