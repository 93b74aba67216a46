package import Addressing
package import Linux
package import Netlink
package import Observation
package import Settings
import Taps

/// A node's network as its agent sees it: the veths with their pods, and the node's own addresses.
package struct Node: Equatable, Sendable {
    /// All veths of the node's namespace, whether or not they are edges, in the order of their indexes.
    package let veths: [Veth]
    /// All interfaces, by index.
    package let links: [UInt32: Link]
    /// The node's own addresses.
    package let addresses: [InterfaceAddress]
    /// The routes of the main table.
    package let routes: [Route]
    /// The MAC addresses on the node's bridges, and where each lives.
    package let macs: MACTable
    /// Why pods' addresses cannot be read; nil if they can.
    package let addressFailure: SystemError?

    /// The veths that are captured, which `edges` has as the rule needs them.
    package var capturedVeths: [Veth] { veths.filter(\.isCaptured) }

    /// The number of captured veths whose pods' addresses are not known.
    package var edgeCountWithoutAddresses: Int {
        veths.count { $0.isCaptured && $0.podAddresses == nil }
    }

    /// A pod's own MAC address that the bridge has learned behind another edge.
    package struct TakenMAC: Hashable, Sendable {
        /// The MAC address.
        package let mac: MACAddress
        /// The index of the edge of the pod whose address it is.
        package let owner: UInt32
        /// The index of the edge to which the bridge sends its frames.
        package let taker: UInt32
    }

    /// The pods' own MAC addresses that bridges have learned behind other edges.
    ///
    /// A pod that may send raw frames can take another one's address, and gets its frames then.
    package var takenMACs: Set<TakenMAC> {
        Set(
            capturedVeths.compactMap { veth in
                guard let mac = veth.podMAC, let bridge = veth.link.master,
                    case .edge(let taker)? = macs.place(of: mac, on: bridge),
                    taker != veth.link.index
                else { return nil }
                return TakenMAC(mac: mac, owner: veth.link.index, taker: taker)
            })
    }

    /// Reads the node from the kernel, once, which takes some milliseconds.
    ///
    /// Without CAP_NET_ADMIN the pods' addresses are missing, and `addressFailure` says why.
    ///
    /// - Parameters:
    ///   - selection: The veths to capture.
    ///   - folder: A folder of libcni's cache, where pods' names are; nil for no names.
    ///   - taps: Where edges are captured.
    /// - Returns: The node as it is now.
    /// - Throws: The kernel's reason for not answering.
    package static func read(
        _ selection: EdgeSelection, namesIn folder: String? = nil,
        taps: TapSettings = TapSettings()
    ) throws(SystemError) -> Node {
        var source = try NodeSource()
        var table = EdgeTable(TapPlan(taps))
        try source.readAll(into: &table)
        if table.tapPlan.needsNamespaces {
            var namespaces = try NamespaceFolder(
                taps.namespaceFolder, assignsIDs: taps.includesPodInterfaces)
            table.apply(namespaces.read())
            if taps.includesPodInterfaces {
                table.apply(try source.reply(to: .podInterfaces(table.podInterfaceFiles)))
            }
        }
        if let folder {
            var cache = AttachmentCache(folder: folder)
            let attachments = (try? cache.read()) ?? []
            let names = table.node(selection).veths.compactMap { veth in
                veth.nameQuery(appearedAt: nil)?.name(among: attachments).map {
                    (veth.incarnation, $0)
                }
            }
            table.set(Dictionary(uniqueKeysWithValues: names))
        }
        return table.node(selection)
    }

    /// The interface with an index, if there is one.
    package func link(_ index: UInt32?) -> Link? {
        index.flatMap { links[$0] }
    }

    /// The node's own addresses, and the gateways of its routes into the pod networks.
    ///
    /// A gateway inside a pod network is a node, although its address looks like a pod's, unless a
    /// pod of this node has that address. No pod has the node's own addresses, even if it says so.
    package func nodeAddresses(podNetworks: [IPNetwork]) -> Set<IPAddress> {
        let gateways = routes.filter { route in
            podNetworks.contains { $0.contains(route.destination.address) }
        }.compactMap(\.gateway)
        let pods = capturedVeths.flatMap { $0.podAddresses ?? [] }.filter { !$0.isLinkLocalIPv6 }
        return Set(gateways).subtracting(pods).union(addresses.map(\.address))
    }

    /// The addresses of the interfaces that have a default route, without link-local ones.
    ///
    /// A pod through which a default route leads is left out.
    package var uplinkAddresses: [InterfaceAddress] {
        let uplinks = Set(defaultRoutesOutside.compactMap(\.interfaceIndex))
        return addresses.filter {
            uplinks.contains($0.interfaceIndex) && !$0.address.isLinkLocalIPv6
        }
    }
}
