import Forwarding
import Metrics

extension AgentStatus {
    /// Adds what there is of it to a summary.
    func add(to summary: inout Summary.State) {
        let totals = totals
        summary.sensorCount = sensors.count
        summary.capturingSensorCount = sensors.count { !$0.captures.isEmpty }
        summary.clientCount = clients?.sessions.value ?? 0
        summary.capturingClientCount = clients?.captures.count ?? 0
        summary.totals.packetCount = totals[.packetsQueued]
        summary.totals.byteCount = totals[.bytesQueued]
        summary.totals.droppedByRingCount = totals.frames[.droppedByRing]
        summary.totals.droppedByQueueCount = totals.frames[.droppedByQueue]
        summary.totals.limitedCount = totals.frames[.limited]
        summary.totals.reconnectCount = sensors.reduce(0) { count, sensor in
            count + max(1, sensor.sessionsBegun.value) - 1
        }
    }
}
