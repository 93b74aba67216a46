package import Formats

import Addressing
import Netlink

extension Node {
    /// An object for each veth, as programs read it.
    package var json: JSON {
        JSON.array(candidates.map { candidate in json(of: candidate) })
    }

    private func json(of candidate: Veth) -> JSON {
        let link = candidate.link
        let addresses = candidate.podAddresses.map { list in
            JSON.array(list.map { .text("\($0)") })
        }
        return JSON.object([
            ("interface", .text(link.name)),
            ("index", .number(Int(link.index))),
            ("mac", link.mac.map { .text("\($0)") } ?? .null),
            ("up", .boolean(link.isUp)),
            ("pod_namespace", candidate.pod.map { .text($0.namespace) } ?? .null),
            ("pod_name", candidate.pod.map { .text($0.name) } ?? .null),
            ("pod_addresses", addresses ?? .null),
            ("pod_mac", candidate.podMAC.map { .text("\($0)") } ?? .null),
            ("pod_index", link.peerIndex.map { .number(Int($0)) } ?? .null),
            ("namespace", link.peerNamespace.map { .number(Int($0)) } ?? .null),
            ("bridge", self.link(link.master).map { .text($0.name) } ?? .null),
            ("captured", .boolean(candidate.isEdge)),
            ("state", .text(candidate.state)),
        ])
    }
}

extension Veth {
    /// Whether it is captured, or why not, in words.
    package var state: String {
        isEdge && !link.isUp ? "down: captured when it is up" : standing.description
    }
}
