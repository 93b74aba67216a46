package import Edges
import Linux
package import Metrics

/// How an agent is, in words: the first line says it, and the others why.
package struct Health: Equatable, Sendable {
    package let isGood: Bool
    package let text: String

    private init(_ isGood: Bool, _ first: String, _ lines: [String]) {
        self.isGood = isGood
        text = ([first] + lines).joined(separator: "\n") + "\n"
    }
}

extension Health {
    /// Whether the agent does what it is for: it knows the node as it is now, and at least one sensor
    /// gets packets or clients are listened for. An agent does not know pods where the networks are
    /// others', and captures nothing then.
    package static func readiness(
        of status: AgentStatus, _ mismatch: PodNetworkMismatch?
    ) -> Health {
        if status.isStopping.isSet { return Health(false, "not ready: the agent stops", []) }
        let isInStep = status.node.isSynced.isSet
        let isServing =
            status.isListening.isSet || status.sensors.contains { !$0.captures.isEmpty }
        var reasons: [String] = []
        if !isInStep { reasons.append("the node's network is not followed") }
        if !isServing { reasons.append("no sensor captures") }
        if let mismatch, !mismatch.isCaptured { reasons.append(mismatch.description) }
        var lines = ["netlink: \(isInStep ? "in step with the node" : "to be read anew")"]
        lines += status.sensors.map { "sensor \($0.name): \($0.standing)" }
        if let clients = status.clients {
            let state = status.isListening.isSet ? "listened for" : "not listened for"
            lines.append("clients: \(state), \(clients.sessions.value) connected")
        }
        let isReady = reasons.isEmpty
        let first = isReady ? "ready" : "not ready: \(reasons.joined(separator: "; "))"
        return Health(isReady, first, lines)
    }

    /// Whether all loops turn; with the names of those that do not.
    package static func liveness(of pulses: Watchdog, now: UInt64) -> Health {
        let stuck = pulses.stuck(now: now)
        guard !stuck.isEmpty else {
            return Health(true, "alive", ["loops that turn: \(pulses.count)"])
        }
        return Health(
            false, "not alive",
            stuck.map { "\($0.name): has not turned for \($0.seconds) seconds" })
    }
}
