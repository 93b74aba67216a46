package import Frames
package import Kernel
package import Netlink

import Glibc

/// What a node looks like to its agent: its edges, and its own addresses.
package struct Node: Sendable {
    package let candidates: [Candidate]
    package let links: [Link]
    package let addresses: [InterfaceAddress]
    package let routes: [Route]
    /// Why pods' addresses are not known, if they are not.
    package let blindness: SystemError?

    package var edges: [Candidate] { candidates.filter(\.isEdge) }

    package init(
        candidates: [Candidate], links: [Link], addresses: [InterfaceAddress], routes: [Route],
        blindness: SystemError? = nil
    ) {
        self.candidates = candidates
        self.links = links
        self.addresses = addresses
        self.routes = routes
        self.blindness = blindness
    }

    /// Asks the kernel, once. Takes some milliseconds. Without CAP_NET_ADMIN the pods' addresses
    /// are missing, and `blindness` says so.
    package static func current() throws(SystemError) -> Node {
        var socket = try NetlinkSocket()
        let links = try socket.links()
        let addresses = try socket.addresses()
        let routes = try socket.routes()
        var candidates = Candidate.all(among: links, routes: routes)
        var blindness: SystemError?
        for index in candidates.indices where candidates[index].isEdge {
            do throws(SystemError) {
                try candidates[index].ask(&socket)
            } catch {
                // A pod that has gone in the meantime is no reason to complain.
                if error.code == EPERM || error.code == EACCES { blindness = error }
            }
        }
        return Node(
            candidates: candidates, links: links, addresses: addresses, routes: routes,
            blindness: blindness)
    }

    package func link(_ index: UInt32?) -> Link? {
        links.first { $0.index == index }
    }

    /// The node's own addresses, and the gateways of its routes into the pod networks: a gateway
    /// inside a pod network is a node, however much it looks like a pod.
    package func nodeAddresses(podNetworks: [Network]) -> Set<IPAddress> {
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

extension Candidate {
    /// Asks for the pod's own addresses, by the id of its namespace.
    fileprivate mutating func ask(_ socket: inout NetlinkSocket) throws(SystemError) {
        guard let namespace = link.peerNamespace, let index = link.peerIndex else { return }
        podAddresses = try socket.addresses(ofInterface: index, inNamespace: namespace)
            .map(\.address)
        podMAC = try socket.links(inNamespace: namespace).first { $0.index == index }?.mac
    }
}
