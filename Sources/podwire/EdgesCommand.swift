import Agent
import ArgumentParser
import Collector
import Frames
import Kernel
import Netlink

struct EdgesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "edges",
        abstract: "Lists this node's edges: the host-side ends of its pods' veth pairs.",
        discussion: """
            For each veth: its name and index, the pod's addresses and MAC, the id of the pod's \
            network namespace, the bridge it is a port of, and whether it is captured or why not. \
            The pods' own addresses need CAP_NET_ADMIN; without it they are shown as unknown.
            """)

    @Option(help: "Networks that pods have their addresses in, to mark those outside. (PODNET)")
    var podNetwork: String?

    @Flag(help: "Print JSON, one object for each veth.")
    var json = false

    func run() throws {
        let networks = try readNetworks()
        do {
            let node = try Node.current()
            writeToStandardOutput(json ? Self.json(node) : Self.table(node, networks))
            if let blindness = node.blindness {
                let missing = NodeAgent.MissingCapability(capability: .netAdmin)
                writeToStandardError("podwire edges: \(blindness): \(missing)\n")
            }
        } catch {
            writeToStandardError("podwire edges: \(error)\n")
            throw Exit.systemError
        }
    }

    private func readNetworks() throws -> [Network] {
        let option = Setting.podNetworks
        let text = podNetwork ?? environmentVariable(option.variable) ?? ""
        return try text.split(whereSeparator: { $0 == "," || $0 == " " }).map { part in
            guard let network = Network(String(part)) else {
                writeToStandardError(
                    "podwire edges: \(option.option) \(text) cannot be understood: it takes "
                        + "networks such as 10.244.0.0/16, comma-separated\n")
                throw Exit.usage
            }
            return network
        }
    }

    private static func table(_ node: Node, _ networks: [Network]) -> String {
        guard !node.candidates.isEmpty else {
            return "This network namespace has no veth, so no pod is connected to it. "
                + "An agent has to run in the node's own (hostNetwork: true).\n"
        }
        let head = [
            "INTERFACE", "INDEX", "POD ADDRESSES", "POD MAC", "NAMESPACE", "BRIDGE", "STATE",
        ]
        let rows = node.candidates.map { candidate in
            [
                candidate.link.name, "\(candidate.link.index)",
                addresses(of: candidate, networks), candidate.podMAC?.description ?? "-",
                candidate.link.peerNamespace.map { "\($0)" } ?? "-",
                node.link(candidate.link.master)?.name ?? "-", candidate.standing.description,
            ]
        }
        return Columns.text(head, rows)
    }

    /// Addresses outside the pod networks are in parentheses; link-local ones are left to `--json`.
    private static func addresses(of candidate: Candidate, _ networks: [Network]) -> String {
        guard candidate.isEdge else { return "-" }
        guard let addresses = candidate.podAddresses else { return "unknown" }
        let texts = addresses.filter { !$0.isLinkLocalIPv6 }.map { address in
            let isInside = networks.isEmpty || networks.contains { $0.contains(address) }
            return isInside ? "\(address)" : "(\(address))"
        }
        return texts.isEmpty ? "none" : texts.joined(separator: " ")
    }

    private static func json(_ node: Node) -> String {
        let objects = node.candidates.map { candidate in
            let link = candidate.link
            let addresses = candidate.podAddresses.map { list in
                JSON.array(list.map { .text("\($0)") })
            }
            return JSON.object([
                ("interface", .text(link.name)),
                ("index", .number(Int(link.index))),
                ("mac", link.mac.map { .text("\($0)") } ?? .null),
                ("up", .boolean(link.isUp)),
                ("pod_addresses", addresses ?? .null),
                ("pod_mac", candidate.podMAC.map { .text("\($0)") } ?? .null),
                ("pod_index", link.peerIndex.map { .number(Int($0)) } ?? .null),
                ("namespace", link.peerNamespace.map { .number(Int($0)) } ?? .null),
                ("bridge", node.link(link.master).map { .text($0.name) } ?? .null),
                ("captured", .boolean(candidate.isEdge)),
                ("state", .text(candidate.standing.description)),
            ])
        }
        return JSON.array(objects).text + "\n"
    }
}
