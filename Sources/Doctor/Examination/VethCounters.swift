import Edges
import Linux
package import Netlink

/// The packet counters of both ends of an edge's veth pair.
package struct VethCounters: Sendable {
    /// The edge's name.
    package let name: String
    /// The counters of the pod's end.
    package let pod: LinkCounters
    /// The counters of the host's end.
    package let host: LinkCounters

    /// Counters with known values.
    package init(name: String, pod: LinkCounters, host: LinkCounters) {
        (self.name, self.pod, self.host) = (name, pod, host)
    }

    /// Reads the counters of a node's edges, which needs CAP_NET_ADMIN.
    ///
    /// The pods' are read first, so that they are not ahead of the host's.
    static func read(_ node: Node) -> Result<[VethCounters], SystemError> {
        Result { () throws(SystemError) in
            var socket = try NetlinkSocket()
            var pods: [Int32: [UInt32: LinkCounters]] = [:]
            for id in Set(node.capturedVeths.compactMap(\.link.peerNamespace)) {
                // The namespace may have gone in the meantime.
                pods[id] = try? socket.counters(inNamespace: id)
            }
            let host = try socket.counters()
            // Ids are reused at once, so an edge counts if it still leads to the same pod.
            let links = try socket.links()
            return node.capturedVeths.compactMap { veth in
                guard links.contains(where: { leadsToSamePod($0, veth.link) }),
                    let id = veth.link.peerNamespace, let peer = veth.link.peerIndex,
                    let pod = pods[id]?[peer], let own = host[veth.link.index]
                else { return nil }
                return VethCounters(name: veth.link.name, pod: pod, host: own)
            }
        }
    }

    private static func leadsToSamePod(_ one: Link, _ other: Link) -> Bool {
        one.index == other.index && one.peerNamespace == other.peerNamespace
            && one.peerIndex == other.peerIndex && one.mac == other.mac
    }
}
