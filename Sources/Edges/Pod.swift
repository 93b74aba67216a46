package import Addressing
package import Netlink

extension EdgeTable {
    /// What is known of the pod at the other end of a veth pair.
    package struct Pod: Equatable, Sendable {
        /// The IP addresses of the pair's other end, link-local ones included.
        package let addresses: [IPAddress]
        /// The MAC address of the pair's other end.
        package let mac: MACAddress?
        /// The addresses of the pod's other interfaces that packets reach through the pair: of its
        /// loopback, of dummies, of what is made on top of the pair's other end.
        package let otherAddresses: [IPAddress]
        /// The MAC addresses of the pod's other interfaces: of macvlans, bridges and dummies.
        package let otherMACs: [MACAddress]
        /// The largest GSO packet that the pair's other end sends; nil if it is not known.
        package let gsoByteCountMax: Int?
        /// The number of addresses of both kinds that were not kept.
        package let notKeptCount: Int
        /// The addresses to which the node's own routes do not lead through the pair.
        ///
        /// A pod may give itself any address. What others send there goes to its owner.
        package private(set) var unreachedAddresses: Set<IPAddress> = []

        /// The most addresses of each kind that are kept of a pod's other interfaces.
        ///
        /// A pod that may configure its network can add them without end, and most of them have a
        /// place in each edge's program.
        package static let otherCountMax = 32

        /// A pod by its addresses.
        package init(
            addresses: [IPAddress], mac: MACAddress?, otherAddresses: [IPAddress] = [],
            otherMACs: [MACAddress] = [], gsoByteCountMax: Int? = nil
        ) {
            (self.addresses, self.mac) = (addresses, mac)
            self.gsoByteCountMax = gsoByteCountMax
            self.otherAddresses = Array(otherAddresses.prefix(Self.otherCountMax))
            self.otherMACs = Array(otherMACs.prefix(Self.otherCountMax))
            notKeptCount =
                max(0, otherAddresses.count - Self.otherCountMax)
                + max(0, otherMACs.count - Self.otherCountMax)
        }

        /// The pod that has some interfaces and their addresses in its namespace.
        ///
        /// - Parameters:
        ///   - peer: The index of the pair's other end.
        ///   - addresses: The addresses of all interfaces.
        ///   - links: All interfaces.
        package init(behind peer: UInt32, _ addresses: [InterfaceAddress], _ links: [Link]) {
            let own = addresses.filter { $0.interfaceIndex == peer }.map(\.address)
            let end = links.first { $0.index == peer }
            let mac = end?.mac?.ofInterface
            let through = Set(links.filter { $0.isReached(through: end) }.map(\.index))
            let others = addresses.filter { through.contains($0.interfaceIndex) }.map(\.address)
                .filter { $0.isRoutable && !own.contains($0) }
            let macs = Set(
                links.filter { $0.index != peer && !$0.isLoopback }.compactMap { $0.mac })
            let otherMACs = macs.filter { $0 != mac && $0.value != 0 && !$0.isGroup }
                .sorted { $0.value < $1.value }
            self.init(
                addresses: own, mac: mac, otherAddresses: others, otherMACs: otherMACs,
                gsoByteCountMax: end?.gsoByteCountMax)
        }

        /// Records the route that the node takes to one of the pod's addresses.
        ///
        /// - Parameters:
        ///   - route: The route; nil for none.
        ///   - address: The address.
        ///   - link: The pair's end in the node.
        package mutating func record(_ route: Route?, to address: IPAddress, through link: Link) {
            if !isReached(by: route, through: link) { unreachedAddresses.insert(address) }
        }

        private func isReached(by route: Route?, through link: Link) -> Bool {
            guard let route, let index = route.interfaceIndex else { return false }
            if index == link.index { return true }
            // On the link of the bridge, the address belongs to the port that answers for it.
            return index == link.master && route.gateway.map(addresses.contains) ?? true
        }

        /// Whether the pod has more than one address of a family, or one on another interface.
        var hasFurtherAddresses: Bool {
            !otherAddresses.isEmpty
                || IPAddress.Family.allCases.contains { family in
                    addresses.count { $0.family == family && $0.isRoutable } > 1
                }
        }
    }
}

extension MACAddress {
    /// The address, if it is one that tells interfaces apart: netkit devices can have zeros.
    var ofInterface: Self? { value == 0 ? nil : self }
}

extension Link {
    /// Whether packets to the interface come through another one of its namespace.
    ///
    /// A second veth or a macvlan on an interface of the node has a way of its own.
    fileprivate func isReached(through end: Link?) -> Bool {
        guard let end, index != end.index else { return false }
        return isLoopback || kind == "dummy" || index == end.master
            || peerIndex == end.index && peerNamespace == nil
    }
}
