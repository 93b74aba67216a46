import Edges
import Formats
package import Linux
package import Netlink

/// Whether packets reach pods past the host side of their veths, where nobody can capture them.
///
/// An eBPF program can hand a packet straight to the pod's device (`bpf_redirect_peer`). That such
/// programs are there proves nothing, since the same ones may forward in the ordinary way. The
/// counters tell: of a veth pair, what one side has received is what the other has sent, packet for
/// packet, unless something came from elsewhere.
package enum DataPathCheck {
    private static let name = "data path"

    /// What both ends of an edge have counted since they were made.
    package struct Edge: Sendable {
        package let name: String
        package let pod: LinkCounters
        package let host: LinkCounters

        package init(name: String, pod: LinkCounters, host: LinkCounters) {
            (self.name, self.pod, self.host) = (name, pod, host)
        }

        /// How many packets the pod has got that did not pass here.
        var missedCount: UInt64 {
            pod.receivedPacketCount - min(pod.receivedPacketCount, host.sentPacketCount)
        }

        /// Whether the pod says much and is told next to nothing, as far as can be seen here.
        var isOneSided: Bool {
            host.receivedPacketCount >= 1000
                && host.sentPacketCount < host.receivedPacketCount / 10
        }
    }

    /// The counts agree to the packet, as the pods' are read first; so this is only what shall not be
    /// called a data path.
    private static let missedCountMin = 10

    /// Asks both ends of each edge. Needs CAP_NET_ADMIN.
    static func read(_ node: Node) throws(SystemError) -> [Edge] {
        var socket = try NetlinkSocket()
        var pods: [Int32: [UInt32: LinkCounters]] = [:]
        for id in Set(node.edges.compactMap(\.link.peerNamespace)) {
            // The namespace may have gone in the meantime.
            pods[id] = try? socket.counters(inNamespace: id)
        }
        let host = try socket.counters()
        // Ids are used again at once, so an edge counts if it leads to the same place as before.
        let links = try socket.links()
        return node.edges.compactMap { edge in
            guard links.contains(where: { isSame($0, edge.link) }),
                let id = edge.link.peerNamespace, let peer = edge.link.peerIndex,
                let pod = pods[id]?[peer], let own = host[edge.link.index]
            else { return nil }
            return Edge(name: edge.link.name, pod: pod, host: own)
        }
    }

    private static func isSame(_ one: Link, _ other: Link) -> Bool {
        one.index == other.index && one.peerNamespace == other.peerNamespace
            && one.peerIndex == other.peerIndex && one.mac == other.mac
    }

    package static func finding(_ edges: [Edge], _ release: KernelRelease?) -> Finding {
        let bypassed = edges.filter { $0.missedCount >= missedCountMin }
        if !bypassed.isEmpty {
            let texts = bypassed.map {
                "\($0.name) (\($0.missedCount) of \($0.pod.receivedPacketCount))"
            }
            return Finding(
                .warning, name, "packets to pods bypass their veths: \(Wording.few(texts))",
                meaning: """
                    something, mostly an eBPF program of the network plug-in, hands packets straight \
                    to the pods' devices, and no agent on the node can capture these
                    """,
                remedy: """
                    have the plug-in deliver through the veths (Cilium: bpf.hostLegacyRouting=true)
                    """)
        }
        let oneSided = edges.filter(\.isOneSided)
        if let release, release < .redirectCounters, !oneSided.isEmpty {
            return Finding(
                .note, name,
                "pods send much and get little here: \(Wording.few(oneSided.map(\.name)))",
                meaning: """
                    packets to them may bypass their veths; before Linux \
                    \(KernelRelease.redirectCounters) the pods' devices do not count such packets, so \
                    it cannot be known
                    """,
                remedy: "see whether the network plug-in is eBPF-based, and what of it is captured")
        }
        return .ok(
            name,
            "what \(Wording.count(edges.count, "pod")) received has passed \(edges.count == 1 ? "its veth" : "their veths")"
        )
    }
}
