package import Addressing

/// The addresses that an agent knows: all that the rule needs beside the packet.
///
/// Both forms of the rule, `Rule` and `EdgeProgram`, are made from it.
package struct AddressPlan: Equatable, Sendable {
    /// The networks of pod addresses, the same on every node (`PODNET`).
    package var podNetworks: [IPNetwork]
    /// The networks of service addresses, which the client's node translates (`SVCNET`).
    package var serviceNetworks: [IPNetwork]
    /// The parts of the pod networks that no agent watches (`--uncovered`).
    package var uncovered: [IPNetwork]
    /// This node's own addresses, and the gateways of its routes into the pod networks, but for those
    /// that a pod of this node has.
    package var nodeAddresses: Set<IPAddress>
    /// The addresses that the feed goes to: configured sensors, and the peers of live sessions.
    package var sensors: Set<IPAddress>
    /// The addresses of all pods behind edges of this node, link-local addresses included.
    package var localPodAddresses: Set<IPAddress>
    /// The networks behind pods of this node, which the node's routes lead to through a pod.
    package var localPodNetworks: [IPNetwork]
    /// The MAC addresses on this node's bridges.
    package var macs: MACTable

    package init(
        podNetworks: [IPNetwork], serviceNetworks: [IPNetwork] = [], uncovered: [IPNetwork] = [],
        nodeAddresses: Set<IPAddress> = [], sensors: Set<IPAddress> = [],
        localPodAddresses: Set<IPAddress> = [], localPodNetworks: [IPNetwork] = [],
        macs: MACTable = MACTable()
    ) {
        self.podNetworks = podNetworks
        self.serviceNetworks = serviceNetworks
        self.uncovered = uncovered
        self.nodeAddresses = nodeAddresses
        self.sensors = sensors
        self.localPodAddresses = localPodAddresses
        self.localPodNetworks = localPodNetworks
        self.macs = macs
    }

    package func isService(_ address: IPAddress) -> Bool {
        serviceNetworks.contains { $0.contains(address) }
    }

    /// Whether an address belongs to a pod that some agent watches.
    package func isPod(_ address: IPAddress) -> Bool {
        isPodByNetwork(address) || isLocalPod(address)
    }

    /// Whether an address is behind an edge of this node.
    package func isLocalPod(_ address: IPAddress) -> Bool {
        localPodAddresses.contains(address)
            || !localPodNetworks.isEmpty && localPodNetworks.contains { $0.contains(address) }
    }

    /// Whether an address is a pod's by its network, which all nodes agree about.
    ///
    /// True inside the pod networks, unless the address is uncovered or a node's.
    package func isPodByNetwork(_ address: IPAddress) -> Bool {
        podNetworks.contains { $0.contains(address) }
            && !uncovered.contains { $0.contains(address) }
            && !nodeAddresses.contains(address)
    }
}

/// The edge at which a frame was seen, with what the rule needs to know about it.
package struct ObservationPoint: Equatable, Sendable {
    package let interfaceIndex: UInt32
    /// The MAC address of the pod's own interface.
    ///
    /// Nil if it is not known. Then every unicast frame towards the pod counts as addressed to it.
    package let podMAC: MACAddress?
    /// The first of the other MAC addresses that live behind the edge, in order.
    ///
    /// An edge's program has room for these. The rest is in `AddressPlan.macs`.
    package let otherMACs: [MACAddress]
    /// The MAC address of the edge's own device.
    ///
    /// The node sent a frame with this source through this port alone, as it does with a bridge
    /// port's own multicast listener reports, so no other edge sees it. Nil if the bridge has the
    /// same address: then the source does not show which of the two sent the frame.
    package let deviceMAC: MACAddress?
    /// The index of the bridge that the edge is a port of.
    ///
    /// Nil if it is none. Then nothing is flooded, and every frame towards the pod is meant for it.
    package let bridge: UInt32?
    /// The MAC address of that bridge, which is that of the pods' gateway.
    ///
    /// Nil where the gateway has another one, as with Open vSwitch. Then the source of a frame does
    /// not show whether two edges see it.
    package let bridgeMAC: MACAddress?
    /// Whether the bridge has ports of others than pods, such as an uplink.
    package let hasOtherPorts: Bool
    /// The edges that a group frame reaches together, this one included.
    package let domain: Domain
    /// The end of the pod's pair at which frames are captured.
    ///
    /// Both ends are one edge, and the rule is the same. At the pod's end the kernel says which frames
    /// are addressed to the pod's interface.
    package private(set) var side: TapSide

    /// The most other MAC addresses that an edge's program compares.
    ///
    /// Each takes two instructions or three.
    package static let otherMACCountMax = 16

    package init(
        interfaceIndex: UInt32, podMAC: MACAddress?, otherMACs: [MACAddress] = [],
        deviceMAC: MACAddress? = nil, bridge: UInt32? = nil, bridgeMAC: MACAddress? = nil,
        hasOtherPorts: Bool = false, domain: Domain, side: TapSide = .host
    ) {
        self.side = side
        self.interfaceIndex = interfaceIndex
        self.podMAC = podMAC
        self.otherMACs = Array(otherMACs.prefix(Self.otherMACCountMax))
        self.deviceMAC = deviceMAC
        self.bridge = bridge
        self.bridgeMAC = bridgeMAC
        self.hasOtherPorts = hasOtherPorts
        self.domain = domain
    }

    /// The same edge, behind which one more MAC address lives.
    package func adding(_ mac: MACAddress) -> Self {
        Self(
            interfaceIndex: interfaceIndex, podMAC: podMAC, otherMACs: [mac] + otherMACs,
            deviceMAC: deviceMAC, bridge: bridge, bridgeMAC: bridgeMAC,
            hasOtherPorts: hasOtherPorts, domain: domain, side: side)
    }

    /// The same edge, captured at an end of the pod's pair.
    package func captured(at side: TapSide) -> Self {
        var point = self
        point.side = side
        return point
    }

    /// Whether a MAC address is one of those of the pod.
    package func has(_ mac: MACAddress) -> Bool { mac == podMAC || otherMACs.contains(mac) }

    /// Whether the program of another point is the same.
    package func hasSameProgram(as other: Self) -> Bool {
        podMAC == other.podMAC && otherMACs == other.otherMACs && bridge == other.bridge
            && bridgeMAC == other.bridgeMAC && side == other.side
    }

    /// The edges of one broadcast domain on this node: the ports of a bridge, or one routed veth.
    package struct Domain: Equatable, Sendable {
        private let edgeOf: [IPAddress: UInt32]

        package init(_ edges: [(interfaceIndex: UInt32, addresses: [IPAddress])]) {
            var edgeOf: [IPAddress: UInt32] = [:]
            for edge in edges {
                for address in edge.addresses { edgeOf[address] = edge.interfaceIndex }
            }
            self.edgeOf = edgeOf
        }

        /// Returns the edge behind which an address is; nil if that is not known.
        func edge(of address: IPAddress) -> UInt32? { edgeOf[address] }
    }
}
