package import Addressing
import Netlink

/// The networks behind pods that forward, such as VPN gateways.
extension Node {
    /// A route, and the veth of the pod that is its next hop; nil if that is no pod of this node.
    private typealias Hop = (route: Route, veth: Veth?)

    /// A default route that leads through a pod of this node, as to a gateway in a pod.
    package struct DefaultRouteThroughPod: Equatable, Sendable {
        /// The veth of the pod.
        package let veth: Veth
        /// Whether the node takes this route: no other default route has a better metric.
        package let isInUse: Bool
    }

    /// A network, and the veth of the pod through which the node's route leads to it.
    package struct NetworkBehindPod: Equatable, Sendable {
        /// The network.
        package let network: IPNetwork
        /// The veth.
        package let veth: Veth
    }

    /// The most networks behind pods that the rule knows.
    ///
    /// Each takes about six instructions of each edge's program. `doctor` reports the rest.
    package static let networkBehindPodCountMax = 32

    /// The networks to which the node's routes lead through a pod of its own, in order.
    ///
    /// Default routes are left out, and networks that other routes lead to as well, in part or with
    /// a better metric: there the address alone does not say where a packet goes.
    package var networksBehindPods: [NetworkBehindPod] {
        let owners = owners
        let hops = hops(owners)
        let others = hops.filter { $0.veth == nil }.map(\.route)
        var found: [NetworkBehindPod] = []
        for (route, veth) in hops {
            guard let veth, !route.isDefault, owners[route.destination.address] != veth,
                !isOwnNetwork(route),
                !others.contains(where: { Self.competes($0, with: route) }),
                !found.contains(where: { $0.network == route.destination })
            else { continue }
            found.append(NetworkBehindPod(network: route.destination, veth: veth))
        }
        return found
    }

    /// The default routes that lead through pods of this node.
    package var defaultRoutesThroughPods: [DefaultRouteThroughPod] {
        let hops = hops(owners).filter(\.route.isDefault)
        return hops.compactMap { route, veth in
            veth.map { veth in
                let isInUse = !hops.contains { other in
                    other.route.destination == route.destination
                        && other.route.metric < route.metric
                }
                return DefaultRouteThroughPod(veth: veth, isInUse: isInUse)
            }
        }
    }

    /// The default routes that lead through no pod of this node.
    var defaultRoutesOutside: [Route] {
        hops(owners).filter { $0.veth == nil && $0.route.isDefault }.map(\.route)
    }

    /// The veths of the pods of this node, by their addresses.
    private var owners: [IPAddress: Veth] {
        var owners: [IPAddress: Veth] = [:]
        for veth in capturedVeths {
            for address in veth.addresses where !address.isLinkLocalIPv6 { owners[address] = veth }
        }
        return owners
    }

    private func hops(_ owners: [IPAddress: Veth]) -> [Hop] {
        let routed = Dictionary(
            capturedVeths.filter { $0.link.master == nil }.map { ($0.link.index, $0) }
        ) { one, _ in one }
        return routes.map { ($0, Self.veth(of: $0, owners, routed)) }
    }

    /// Whether a route is that of an address of the node itself, as the pods' gateway has it.
    private func isOwnNetwork(_ route: Route) -> Bool {
        route.gateway == nil && addresses.contains { route.destination.contains($0.address) }
    }

    /// The networks of bridges whose ports are all pods': only pods of this node are in them.
    ///
    /// Through any other port, such as a tunnel's, a bridge may lead to other nodes.
    package var bridgeNetworks: [IPNetwork] {
        let ports = links.values.filter { $0.master != nil }
        let open = ports.filter { $0.kind != "veth" || $0.peerNamespace == nil }.map(\.master)
        let bridges = Set(capturedVeths.map(\.link.master)).subtracting(open)
        return routes.filter { route in
            isOwnNetwork(route) && route.interfaceIndex.map { bridges.contains($0) } == true
        }.map(\.destination)
    }

    /// The networks to which the node's routes lead through the pod behind a veth.
    package func networks(behind veth: Veth) -> [IPNetwork] {
        networksBehindPods.filter { $0.veth == veth }.map(\.network)
    }

    /// The sources of frames from a pod that are nobody's, not even those of a network behind it.
    package func unknownSenders(of veth: Veth, _ networks: [NetworkBehindPod]) -> [IPAddress] {
        veth.senders.filter { sender in !networks.contains { $0.network.contains(sender) } }
    }

    /// Returns the veth of the pod that is a route's next hop, by its address or its interface.
    private static func veth(
        of route: Route, _ owners: [IPAddress: Veth], _ routed: [UInt32: Veth]
    ) -> Veth? {
        if let gateway = route.gateway, let veth = owners[gateway] { return veth }
        return route.interfaceIndex.flatMap { routed[$0] }
    }

    private static func competes(_ other: Route, with route: Route) -> Bool {
        guard route.destination.contains(other.destination.address),
            other.destination.prefixBitCount >= route.destination.prefixBitCount
        else { return false }
        return other.destination != route.destination || other.metric <= route.metric
    }
}
