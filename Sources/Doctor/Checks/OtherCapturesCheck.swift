import Edges
import Formats
import Netlink

/// Checks whether something captures at the edges already.
enum OtherCapturesCheck: DoctorCheck {
    static let id = "other-captures"
    static let title = "other captures"

    static func findings(_ node: Examination) -> [Finding] {
        guard let network = node.node, let all = node.packetSockets else { return [] }
        let edges = Set(network.capturedVeths.map(\.link.index))
        let sockets = all.filter { $0.interface == 0 || edges.contains($0.interface) }
        let agents = node.agents
        guard agents.count < 2 else { return [several(agents)] }
        if let agent = agents.first, let own = agent.sockets {
            let others = sockets.filter { !own.contains($0.inode) }
            guard others.isEmpty else { return [foreign(others, edges, agents)] }
            guard !sockets.isEmpty else { return [ok("none at the edges")] }
            return [
                ok("none at the edges, but the \(count(sockets)) of the agent that runs here")
            ]
        }
        guard !sockets.isEmpty else { return [ok("none at the edges")] }
        // An agent whose process cannot be seen is known by its endpoint.
        let hasUnseenAgent = !agents.isEmpty || node.httpPorts.contains(.heldByAgent)
        return [hasUnseenAgent ? unknown(sockets) : foreign(sockets, edges, agents)]
    }

    private static func several(_ agents: [RunningAgent]) -> Finding {
        let processes = Wording.few(agents.map { "\($0.process)" })
        return finding(
            .warning, "\(agents.count) agents run here: processes \(processes)",
            meaning: "a sensor of both gets every packet a second time",
            remedy: "end one of them, or give its sensors to the other one")
    }

    private static func unknown(_ sockets: [PacketSocket]) -> Finding {
        finding(
            .note,
            "\(count(sockets)) at the edges, and an agent runs here; their owner is not known",
            meaning: """
                they are that agent's, unless something else captures as well; a second agent or \
                rpcapd would send the sensor every packet a second time
                """,
            remedy: """
                run the doctor as root where it sees the agent's process, such as in its container \
                (`kubectl exec`), or list the owners there (`ss -0p`)
                """)
    }

    private static func foreign(
        _ sockets: [PacketSocket], _ edges: Set<UInt32>, _ agents: [RunningAgent]
    ) -> Finding {
        let interfaces = Set(sockets.map(\.interface))
        let beside = agents.isEmpty ? "" : ", beside the agent that runs here"
        guard interfaces.contains(0) || edges.isSubset(of: interfaces) else {
            return finding(
                .note, "\(count(sockets)) of others at the edges\(beside)",
                meaning: """
                    if another agent or rpcapd owns these, the sensor gets packets a second time; \
                    every capture slows the pods' packets a little
                    """,
                remedy: "list the owners (`ss -0p`), and end what is not wanted")
        }
        return finding(
            .warning, "\(count(sockets)) of others, at every edge\(beside)",
            meaning: """
                rpcapd or another agent would report every packet a second time; every capture \
                slows the pods' packets a little
                """,
            remedy: "list the owners (`ss -0p`), and end one of them")
    }

    private static func count(_ sockets: [PacketSocket]) -> String {
        Wording.count(sockets.count, "packet socket")
    }
}
