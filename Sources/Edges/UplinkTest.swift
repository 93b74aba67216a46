import Addressing
import Netlink
import Settings

/// Says which veths are the node's uplinks, and no pods' edges.
///
/// The uplink of a nested node is a veth as well (kind, LXD), and such a node may have several, or
/// no default route. A pod can be a gateway, too: a route through a known pod makes no uplink of it.
struct UplinkTest {
    /// The interfaces through which the node reaches others by a gateway, or all others.
    private let routed: Set<UInt32>
    /// The interfaces that have an address of the node in a network that they share with others.
    private let shared: Set<UInt32>
    /// The interfaces of these whose network is no pods'.
    private let sharedOutside: Set<UInt32>
    private let podNetworks: [IPNetwork]

    init(_ routes: [Route], _ addresses: [InterfaceAddress], _ selection: EdgeSelection) {
        let podNetworks = selection.podNetworks
        let shared = addresses.filter { entry in
            entry.prefixBitCount < entry.address.family.bitCount && entry.address.isRoutable
        }
        let outside = shared.filter { entry in
            !podNetworks.contains { $0.contains(entry.address) }
        }
        routed = Set(
            routes.filter { $0.gateway != nil || $0.isDefault }.compactMap(\.interfaceIndex))
        self.shared = Set(shared.map(\.interfaceIndex))
        // If the node has nothing to do with these pod networks, they may be wrong, and the network
        // may be pods' all the same.
        let places =
            addresses.map(\.address)
            + routes.filter { !$0.isDefault }.map(\.destination.address)
        let isPodNode = places.contains { place in
            podNetworks.contains { $0.contains(place) }
        }
        sharedOutside = isPodNode ? Set(outside.map(\.interfaceIndex)) : []
        self.podNetworks = podNetworks
    }

    /// Whether a veth is an uplink; the pod is nil if it is not known what is behind it.
    ///
    /// The pods' gateway has its address on each routed veth. So a veth with a pod in the pod
    /// networks behind it is an uplink only if the node is itself a pod there: it has an address in
    /// a network on the veth, and routes through it.
    func isUplink(_ index: UInt32, _ pod: EdgeTable.Pod?) -> Bool {
        guard let pod else { return routed.contains(index) }
        let isPod = pod.addresses.contains { address in
            podNetworks.contains { $0.contains(address) }
        }
        return isPod
            ? routed.contains(index) && shared.contains(index)
            : routed.contains(index) || sharedOutside.contains(index)
    }
}
