package import Settings
package import Addressing
package import Linux
package import Netlink

/// What a node looks like to its agent: its edges, and its own addresses.
package struct Node: Equatable, Sendable {
    package let candidates: [Veth]
    /// All interfaces, by index.
    package let links: [UInt32: Link]
    package let addresses: [InterfaceAddress]
    package let routes: [Route]
    /// Why pods' addresses are not known, if they are not.
    package let blindness: SystemError?

    package var edges: [Veth] { candidates.filter(\.isEdge) }

    /// Edges whose pods' addresses are not known.
    package var blindEdgeCount: Int { edges.count { $0.podAddresses == nil } }

    /// Asks the kernel, once. Takes some milliseconds. Without CAP_NET_ADMIN the pods' addresses
    /// are missing, and `blindness` says so. With a folder of libcni's cache pods have their names, as
    /// far as they are in there.
    package static func current(
        _ selection: EdgeSelection, namesIn folder: String? = nil
    ) throws(SystemError) -> Node {
        var reader = try NodeSource()
        var table = EdgeTable()
        try reader.readAll(into: &table)
        if let folder {
            var cache = AttachmentCache(folder: folder)
            let attachments = (try? cache.read()) ?? []
            let unnamed = table.node(selection).candidates.compactMap { $0.unnamed(cameAt: nil) }
            table.set(
                Dictionary(
                    uniqueKeysWithValues: unnamed.compactMap { edge in
                        edge.name(among: attachments).map { (edge.incarnation, $0) }
                    }))
        }
        return table.node(selection)
    }

    package func link(_ index: UInt32?) -> Link? {
        index.flatMap { links[$0] }
    }

    /// The node's own addresses, and the gateways of its routes into the pod networks: a gateway
    /// inside a pod network is a node, however much it looks like a pod.
    package func nodeAddresses(podNetworks: [IPNetwork]) -> Set<IPAddress> {
        let gateways = routes.filter { route in
            podNetworks.contains { $0.contains(route.destination.address) }
        }.compactMap(\.gateway)
        return Set(addresses.map(\.address)).union(gateways)
    }

    /// The addresses of the interfaces that lead to the rest of the world.
    package var uplinkAddresses: [InterfaceAddress] {
        let uplinks = Set(routes.filter(\.isDefault).compactMap(\.interfaceIndex))
        return addresses.filter {
            uplinks.contains($0.interfaceIndex) && !$0.address.isLinkLocalIPv6
        }
    }
}
