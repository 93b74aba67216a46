package import Frames
package import Netlink

/// A veth of this node, and whether it is a pod's edge.
package struct Candidate: Equatable, Sendable {
    package let link: Link
    package let standing: Standing
    /// The pod's own addresses. Nil if they cannot be known.
    package var podAddresses: [IPAddress]?
    /// The pod's own Ethernet address, likewise.
    package var podMAC: MACAddress?

    package init(
        link: Link, standing: Standing, podAddresses: [IPAddress]? = nil, podMAC: MACAddress? = nil
    ) {
        self.link = link
        self.standing = standing
        self.podAddresses = podAddresses
        self.podMAC = podMAC
    }

    package var isEdge: Bool { standing == .edge }

    /// Why a veth is an edge, or is not.
    package enum Standing: Equatable, Sendable, CaseIterable {
        case edge
        case peerIsHere
        case peerIsGone
        case uplink

        package var description: String {
            switch self {
            case .edge: "captured"
            case .peerIsHere: "no edge: its other end is on this node, too"
            case .peerIsGone: "no edge: its other end is gone"
            case .uplink: "no edge: it carries a default route, so it is an uplink"
            }
        }
    }

    /// Sorts out the veths among the links of a node. The uplink of a nested node is a veth, too.
    package static func all(among links: [Link], routes: [Route]) -> [Candidate] {
        let uplinks = Set(routes.filter(\.isDefault).compactMap(\.interfaceIndex))
        return links.filter { $0.kind == "veth" }.sorted { $0.index < $1.index }.map { link in
            Candidate(link: link, standing: standing(of: link, uplinks: uplinks))
        }
    }

    private static func standing(of link: Link, uplinks: Set<UInt32>) -> Standing {
        if uplinks.contains(link.index) { return .uplink }
        if link.peerIndex == 0 { return .peerIsGone }
        return link.peerNamespace == nil ? .peerIsHere : .edge
    }
}
