package import Edges
package import Metrics
package import Time

/// The health of an agent in words: the first line is the verdict, the others are the reasons.
package struct Health: Equatable, Sendable {
    /// Whether the agent is ready, or alive.
    package let isGood: Bool
    /// The page that tells it.
    package let text: String

    private init(isGood: Bool, _ verdict: String, _ reasons: [String] = []) {
        self.isGood = isGood
        text = ([verdict] + reasons).joined(separator: "\n") + "\n"
    }

    /// Whether the agent does its work.
    ///
    /// It is ready while it knows the node as it is now, and at least one sensor gets packets or the
    /// agent listens for clients. An agent whose pods all lie outside the pod networks captures nothing,
    /// so it is not ready.
    package static func readiness(
        of status: AgentStatus, _ mismatch: PodNetworkMismatch?
    ) -> Health {
        if status.isStopping.isSet { return Health(isGood: false, "not ready: the agent stops") }
        let isSynced = status.node.isSynced.isSet
        let isListening = status.isListening.isSet
        var reasons: [String] = []
        if !isSynced { reasons.append("netlink is not synced with the node") }
        if !isListening, !status.sensors.contains(where: \.isServed) {
            reasons.append("no sensor captures")
        }
        if let mismatch, !mismatch.isCaptured { reasons.append(mismatch.description) }
        var lines = ["netlink: \(isSynced ? "synced" : "resyncing")"]
        lines += status.sensors.map { "sensor \($0.name): \($0.summary)" }
        if let clients = status.clients {
            let state = isListening ? "listening" : "not listening"
            lines.append("clients: \(state), \(clients.sessions.value) connected")
        }
        return reasons.isEmpty
            ? Health(isGood: true, "ready", lines)
            : Health(isGood: false, "not ready: \(reasons.joined(separator: "; "))", lines)
    }

    /// Not ready: an agent of another revision has been asked for, which does not forward.
    package static func otherRevision(than revision: String?) -> Health {
        let own = revision.map { "revision \($0)" } ?? "no revision"
        return Health(
            isGood: false, "not ready: another revision is asked for",
            ["this agent has \(own), and the node's endpoint as long as it forwards"])
    }

    /// Whether all loops run; the page names those that do not.
    package static func liveness(of watchdog: Watchdog, now: MonotonicTime) -> Health {
        let stuck = watchdog.stuckLoops(now: now)
        guard !stuck.isEmpty else {
            return Health(isGood: true, "alive", ["loops that run: \(watchdog.count)"])
        }
        return Health(
            isGood: false, "not alive",
            stuck.map { "\($0.name): no heartbeat for \($0.silence.components.seconds) seconds" })
    }
}
