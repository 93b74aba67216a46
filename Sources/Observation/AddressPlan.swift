package import Addressing

/// What an agent knows of the addresses around it: everything the rule asks that is not in the
/// packet. Both forms of the rule are made from it.
package struct AddressPlan: Equatable, Sendable {
    /// Networks that pods have their addresses in, the same on every node (`PODNET`).
    package var podNetworks: [IPNetwork]
    /// Networks of service addresses, which the client's node translates (`SVCNET`).
    package var serviceNetworks: [IPNetwork]
    /// Parts of the pod networks that no agent watches.
    package var uncovered: [IPNetwork]
    /// This node's own addresses, and the gateways of its routes into the pod networks.
    package var nodeAddresses: Set<IPAddress>
    /// Where the feed goes: what is configured, and the peers of live sessions.
    package var sensors: Set<IPAddress>
    /// The addresses of all pods behind edges of this node, link-local ones too.
    package var localPodAddresses: Set<IPAddress>
    /// The Ethernet addresses of the same pods.
    package var localPodMACs: Set<MACAddress>

    package init(
        podNetworks: [IPNetwork], serviceNetworks: [IPNetwork] = [], uncovered: [IPNetwork] = [],
        nodeAddresses: Set<IPAddress> = [], sensors: Set<IPAddress> = [],
        localPodAddresses: Set<IPAddress> = [], localPodMACs: Set<MACAddress> = []
    ) {
        self.podNetworks = podNetworks
        self.serviceNetworks = serviceNetworks
        self.uncovered = uncovered
        self.nodeAddresses = nodeAddresses
        self.sensors = sensors
        self.localPodAddresses = localPodAddresses
        self.localPodMACs = localPodMACs
    }

    package func isService(_ address: IPAddress) -> Bool {
        serviceNetworks.contains { $0.contains(address) }
    }

    /// Whether an address is a pod that some agent watches.
    package func isPod(_ address: IPAddress) -> Bool {
        isPodByNetwork(address) || localPodAddresses.contains(address)
    }

    /// What every node finds out alike: the pod networks, less what in them is not a pod.
    package func isPodByNetwork(_ address: IPAddress) -> Bool {
        podNetworks.contains { $0.contains(address) }
            && !uncovered.contains { $0.contains(address) }
            && !nodeAddresses.contains(address)
    }
}

/// The edge at which a frame was seen, as far as the rule needs it.
package struct ObservationPoint: Equatable, Sendable {
    package let interfaceIndex: UInt32
    /// The pod's own Ethernet address. Nil if it cannot be known, and then every unicast frame
    /// towards the pod counts as meant for it.
    package let podMAC: MACAddress?
    /// The Ethernet address of the edge's own device. What has it as its source was sent by the node
    /// through this port alone, as a bridge port's own multicast listener reports are, so no other
    /// edge sees it. Nil if the bridge has the same address: then a frame does not tell.
    package let deviceMAC: MACAddress?
    /// The edges that a group frame reaches together with this one, itself included.
    package let domain: Domain

    package init(
        interfaceIndex: UInt32, podMAC: MACAddress?, deviceMAC: MACAddress? = nil, domain: Domain
    ) {
        self.interfaceIndex = interfaceIndex
        self.podMAC = podMAC
        self.deviceMAC = deviceMAC
        self.domain = domain
    }

    /// The edges of one layer-2 network on this node: the ports of a bridge, or one routed veth.
    package struct Domain: Equatable, Sendable {
        private let edgeOf: [IPAddress: UInt32]
        private let lowest: UInt32

        package init(_ edges: [(interfaceIndex: UInt32, addresses: [IPAddress])]) {
            lowest = edges.map(\.interfaceIndex).min() ?? 0
            var edgeOf: [IPAddress: UInt32] = [:]
            for edge in edges {
                for address in edge.addresses { edgeOf[address] = edge.interfaceIndex }
            }
            self.edgeOf = edgeOf
        }

        /// The one edge that reports a group frame from the node or from outside.
        func reporter(asking target: IPAddress?) -> UInt32 {
            target.flatMap { edgeOf[$0] } ?? lowest
        }
    }
}
