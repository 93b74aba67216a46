package import Addressing
import Edges
import Netlink
import Observation

/// What addresses are to this node.
extension Explainer {
    /// The role of an address in the rule, in words.
    package func role(of address: IPAddress) -> String {
        let addressPlan = rule.addressPlan
        if address.isGroup { return "group" }
        if let network = broadcastNetwork(of: address) { return "broadcast address of \(network)" }
        let edge = edge(of: address)
        if addressPlan.isService(address) {
            return "service" + (edge.map { ", although the \(pod(at: $0)) has it" } ?? "")
        }
        let sensor = addressPlan.sensors.contains(address) ? ", a sensor" : ""
        if let edge {
            let isInside = addressPlan.isPodByNetwork(address)
            // Another host's, such as a guest's or a VPN client's, is not its own.
            let isOwn = veth(of: edge)?.addresses.contains(address) ?? true
            return (isOwn ? "" : "behind the ") + pod(at: edge)
                + (isInside ? "" : ", outside the pod networks") + sensor
        }
        if addressPlan.nodeAddresses.contains(address) {
            return "node, or a gateway of its routes\(sensor)"
        }
        if addressPlan.isPod(address) {
            guard isOwnBridges(address) else {
                return "pod of another node, if there is one\(sensor)"
            }
            let guests = placeOfGuest.map { ", unless it is that of a guest \($0)" } ?? ""
            return "no pod: it is in the network of this node's pods, and none of them has it"
                + guests + sensor
        }
        if let edge = owner(of: address) {
            return "not a pod, but the \(pod(at: edge)) sends from it\(sensor)"
        }
        let isInside = addressPlan.podNetworks.contains { $0.contains(address) }
        return isInside ? "not covered by any agent\(sensor)" : "not a pod\(sensor)"
    }

    /// The pod of an edge in words, with its name if that is known.
    private func pod(at edge: Edge) -> String {
        let name = veth(of: edge)?.pod
        return "pod \(name.map { "\($0) " } ?? "")at \(edge.name)"
    }

    private func veth(of edge: Edge) -> Veth? {
        node.capturedVeths.first { $0.link.name == edge.name }
    }

    /// The place of an edge that is not on this node, in words: the pod whose edge it is.
    func placeElsewhere(of address: IPAddress) -> String {
        guard isOwnBridges(address) else { return "of \(address), on its node" }
        return placeOfGuest.map { "of \(address), if it is \($0)" }
            ?? "of \(address), which no pod has"
    }

    /// The edge behind which an address is; nil if that is not known.
    func edge(of address: IPAddress) -> Edge? {
        let owner =
            node.capturedVeths.first { $0.addresses.contains(address) }
            ?? node.networksBehindPods.first { $0.network.contains(address) }?.veth
        return owner.flatMap { owner in edge(named: owner.link.name) }
    }

    /// The edge behind which an address is, or whose pod sends from an address that is nobody's.
    func owner(of address: IPAddress) -> Edge? {
        edge(of: address) ?? senders?[address].flatMap { name in self.edge(named: name) }
    }

    /// Whether a packet goes to all ports of a bridge.
    func isToGroup(_ packet: DescribedPacket) -> Bool {
        packet.isToGroup || broadcastNetwork(of: packet.destination.address) != nil
    }

    /// The network of the pods of a bridge whose last address this is, which means all of them.
    private func broadcastNetwork(of address: IPAddress) -> IPNetwork? {
        guard address.family == .ipv4 else { return nil }
        let bridges = Set(node.capturedVeths.compactMap(\.link.master))
        return node.addresses.lazy.filter { bridges.contains($0.interfaceIndex) }.map {
            IPNetwork($0.address, prefixBitCount: $0.prefixBitCount)
        }.first { network in
            // The networks of point-to-point links have none (RFC 3021).
            network.prefixBitCount < 31 && network.contains(address)
                && address.low | network.mask.low == 0xffff_ffff
        }
    }

    /// Whether only pods of this node can have an address, by the networks of its bridges.
    private func isOwnBridges(_ address: IPAddress) -> Bool {
        node.bridgeNetworks.contains { $0.contains(address) }
    }

    /// The places of guests whose addresses are not known, in words; nil if there are none.
    ///
    /// A guest's address is in no namespace of the node. Its pod's interface has none itself.
    private var placeOfGuest: String? {
        let names = node.capturedVeths.filter { veth in
            veth.link.master != nil && veth.podAddresses?.contains { $0.isRoutable } == false
        }.map(\.link.name)
        guard let first = names.first else { return nil }
        return "behind \(first)" + (names.count > 1 ? " or \(names.count - 1) more" : "")
    }

    /// Whether an address may be that of another node: it is on a link of this node, beside the pods'.
    package func mayBeNode(_ address: IPAddress) -> Bool {
        guard owner(of: address) == nil, !rule.addressPlan.isPod(address),
            !rule.addressPlan.isService(address),
            !node.addresses.contains(where: { $0.address == address })
        else { return false }
        let edges = Set(
            node.capturedVeths.flatMap { [$0.link.index, $0.link.master].compactMap(\.self) })
        return node.addresses.contains { own in
            !edges.contains(own.interfaceIndex)
                && IPNetwork(own.address, prefixBitCount: own.prefixBitCount).contains(address)
        }
    }

    /// Whether a pod may send from an address without this node's knowledge, as a VPN gateway does.
    ///
    /// True of private addresses (RFC 1918, 4193, 6598) that are nobody's, if no agent was asked.
    package func mayBeSentFrom(_ address: IPAddress) -> Bool {
        senders == nil && edge(of: address) == nil && !rule.addressPlan.isPod(address)
            && !rule.addressPlan.isService(address) && !mayBeNode(address)
            && !rule.addressPlan.nodeAddresses.contains(address)
            && Self.privateNetworks.contains { $0.contains(address) }
    }

    /// Whether a pod sends from an address that is nobody's.
    package func isSentFrom(_ address: IPAddress) -> Bool {
        edge(of: address) == nil && owner(of: address) != nil
    }

    private static let privateNetworks = [
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7",
    ].compactMap { IPNetwork($0) }
}
