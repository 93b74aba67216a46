import Edges
import Formats
import Linux
import Netlink

/// Whether somebody captures at the edges already.
package enum OtherCapturesCheck {
    private static let name = "other captures"

    /// A socket that gets every packet of an interface, or of all of them.
    package struct Capture: Equatable, Sendable {
        package let inode: UInt64
        /// 0 for all.
        package let interface: UInt32

        package init(inode: UInt64, interface: UInt32) {
            (self.inode, self.interface) = (inode, interface)
        }
    }

    /// Looks at the packet sockets of this network namespace. That an agent answers at the endpoint
    /// tells of one whose process cannot be seen.
    static func findings(
        _ node: Node, _ agents: [RunningAgent], isAnswered: @autoclosure () -> Bool
    ) -> [Finding] {
        let path = "/proc/net/packet"
        guard let bytes = try? readFile(path, byteCountMax: tableByteCountMax) else { return [] }
        let edges = Set(node.edges.map(\.link.index))
        let captures = captures(String(decoding: bytes, as: UTF8.self), edges)
        let isUnseen = agents.isEmpty && !captures.isEmpty && isAnswered()
        return [finding(captures, edges, agents, isUnseen: isUnseen)]
    }

    /// 10,000 sockets and more, of about 80 bytes each.
    private static let tableByteCountMax = 1 << 20

    /// Those of a table of packet sockets that get all there is at one of these interfaces.
    package static func captures(_ table: String, _ edges: Set<UInt32>) -> [Capture] {
        table.split(separator: "\n").dropFirst().compactMap { line in
            let words = line.split(separator: " ")
            // In front of the interface stands the protocol, 3 for any (ETH_P_ALL).
            guard words.count > 8, words[3] == "0003", let interface = UInt32(words[4]),
                let inode = UInt64(words[8])
            else { return nil }
            guard interface == 0 || edges.contains(interface) else { return nil }
            return Capture(inode: inode, interface: interface)
        }
    }

    /// Judges who captures. Whose a socket is can be said if it is an agent's whose sockets may be
    /// looked at; an agent may also be there unseen.
    package static func finding(
        _ captures: [Capture], _ edges: Set<UInt32>, _ agents: [RunningAgent] = [],
        isUnseen: Bool = false
    ) -> Finding {
        guard agents.count < 2 else { return several(agents) }
        if let agent = agents.first, let own = agent.sockets {
            let others = captures.filter { !own.contains($0.inode) }
            guard others.isEmpty else { return finding(ofOthers: others, edges, isAgentHere: true) }
            return .ok(
                name,
                captures.isEmpty
                    ? "none at the edges"
                    : "none at the edges, but the \(sockets(captures)) of the agent that runs here")
        }
        if captures.isEmpty { return .ok(name, "none at the edges") }
        guard agents.isEmpty, !isUnseen else {
            return Finding(
                .note, name,
                "\(sockets(captures)) at the edges, and an agent runs here; whose they are is not known",
                meaning: """
                    they are that agent's, unless somebody else captures, too; if that is another \
                    agent or rpcapd, the sensor gets packets twice
                    """,
                remedy: """
                    run the doctor as root where the agent's process can be seen, such as in its \
                    container (`kubectl exec`), or see whose they are there (`ss -0p`)
                    """)
        }
        return finding(ofOthers: captures, edges, isAgentHere: false)
    }

    private static func several(_ agents: [RunningAgent]) -> Finding {
        let processes = Wording.few(agents.map { "\($0.process)" })
        return Finding(
            .warning, name, "\(agents.count) agents run here: the processes \(processes)",
            meaning: "a sensor that both forward to gets every packet a second time",
            remedy: "end one of them, or give its sensors to the other one")
    }

    private static func finding(
        ofOthers captures: [Capture], _ edges: Set<UInt32>, isAgentHere: Bool
    ) -> Finding {
        let interfaces = Set(captures.map(\.interface))
        let beside = isAgentHere ? ", beside the agent that runs here" : ""
        guard interfaces.contains(0) || edges.isSubset(of: interfaces) else {
            return Finding(
                .note, name, "\(sockets(captures)) of others at the edges\(beside)",
                meaning: """
                    if these are of another agent or of rpcapd, the sensor gets packets twice; every \
                    capture costs the pods' packets some time
                    """,
                remedy: "see whose they are (`ss -0p`), and end what is not wanted")
        }
        return Finding(
            .warning, name, "\(sockets(captures)) of others, at every edge\(beside)",
            meaning: """
                rpcapd or another agent would report every packet a second time; every capture costs \
                the pods' packets some time
                """,
            remedy: "see whose they are (`ss -0p`), and end one of them")
    }

    private static func sockets(_ captures: [Capture]) -> String {
        Wording.count(captures.count, "packet socket")
    }
}
