import Settings
package import Addressing
package import Netlink

/// A veth of this node, and whether it is a pod's edge.
package struct Veth: Equatable, Sendable {
    /// Which incarnation of the interface's index this is: another one after it was gone.
    package let incarnation: UInt64
    package let link: Link
    package let standing: EdgeStatus
    /// The pod's own addresses. Nil if they cannot be known.
    package let podAddresses: [IPAddress]?
    /// The pod's own Ethernet address, likewise.
    package let podMAC: MACAddress?
    /// What Kubernetes calls the pod. Nil if the node does not tell.
    package let pod: PodName?

    package var isEdge: Bool { standing == .edge }

    /// Why a veth is an edge, or is not.
    package enum EdgeStatus: Equatable, Sendable, CaseIterable {
        case edge
        case peerIsHere
        case peerIsGone
        case uplink
        case excluded
        case outsidePodNetworks

        package var description: String {
            switch self {
            case .edge: "captured"
            case .peerIsHere: "no edge: its other end is on this node, too"
            case .peerIsGone: "no edge: its other end is gone"
            case .uplink: "no edge: it carries a default route, so it is an uplink"
            case .excluded: "not captured: its name is excluded"
            case .outsidePodNetworks: "not captured: its pod has no address in a pod network"
            }
        }

        /// What the settings make of an edge.
        init(_ verdict: EdgeSelection.Verdict) {
            switch verdict {
            case .captured: self = .edge
            case .excluded: self = .excluded
            case .outsidePodNetworks: self = .outsidePodNetworks
            }
        }

        /// What a link is by itself. The uplink of a nested node is a veth, too.
        init(of link: Link, uplinks: Set<UInt32>) {
            if uplinks.contains(link.index) {
                self = .uplink
            } else if link.peerIndex == 0 {
                self = .peerIsGone
            } else {
                self = link.peerNamespace == nil ? .peerIsHere : .edge
            }
        }
    }
}
