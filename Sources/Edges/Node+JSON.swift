import Addressing
package import Formats
import Netlink
import Observation

extension Node {
    /// An array with an object for each veth, for programs.
    package var json: JSON {
        let networks = networksBehindPods
        return JSON.array(veths.map { veth in json(of: veth, networks) })
    }

    private func texts(_ list: [some CustomStringConvertible]) -> JSON {
        JSON.array(list.map { .text($0.description) })
    }

    private func json(of veth: Veth, _ networks: [NetworkBehindPod]) -> JSON {
        let link = veth.link
        let addresses = veth.podAddresses.map { list in
            JSON.array(list.map { .text("\($0)") })
        }
        return JSON.object([
            ("interface", .text(link.name)),
            ("index", .number(Int(link.index))),
            ("mac", link.mac.map { .text("\($0)") } ?? .null),
            ("up", .boolean(link.isUp)),
            ("pod_namespace", veth.pod.map { .text($0.namespace) } ?? .null),
            ("pod_name", veth.pod.map { .text($0.name) } ?? .null),
            ("pod_addresses", addresses ?? .null),
            ("pod_mac", veth.podMAC.map { .text("\($0)") } ?? .null),
            ("other_addresses", texts(veth.otherAddresses)),
            ("networks", texts(networks.filter { $0.veth == veth }.map(\.network))),
            ("macs", texts(veth.macs)),
            ("senders", texts(unknownSenders(of: veth, networks))),
            ("pod_index", link.peerIndex.map { .number(Int($0)) } ?? .null),
            ("namespace", link.peerNamespace.map { .number(Int($0)) } ?? .null),
            ("bridge", self.link(link.master).map { .text($0.name) } ?? .null),
            ("captured", .boolean(veth.isCaptured)),
            ("tap", veth.isCaptured ? .text(veth.tap.side.rawValue) : .null),
            ("state", .text(veth.state)),
        ])
    }
}

extension Veth {
    /// Whether the veth is captured, or why not, in words.
    package var state: String {
        isCaptured && !link.isUp ? "down: captured when it is up" : status.description
    }
}
