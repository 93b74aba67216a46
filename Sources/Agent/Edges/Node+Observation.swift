import Frames
import Netlink
import Observation
import RPCAP

/// What the rule and the protocol want to know of a node.
extension Node {
    /// The surroundings of the rule; the sensors are added when they are known.
    func surroundings(_ settings: Settings) -> Surroundings {
        Surroundings(
            podNetworks: settings.podNetworks, serviceNetworks: settings.serviceNetworks,
            uncovered: settings.uncovered,
            nodeAddresses: nodeAddresses(podNetworks: settings.podNetworks),
            localPodAddresses: Set(edges.flatMap { $0.podAddresses ?? [] }),
            localPodMACs: Set(edges.compactMap(\.podMAC)))
    }

    /// Where to capture. The ports of one bridge share its broadcasts; a routed veth is alone.
    var places: [Place] {
        let domains = Dictionary(grouping: edges) { $0.link.master ?? 0 }
        var places: [Place] = []
        for (master, members) in domains {
            let groups = master == 0 ? members.map { [$0] } : [members]
            for group in groups {
                let domain = ObservationPoint.Domain(
                    group.map { ($0.link.index, $0.podAddresses ?? []) })
                places += group.map { edge in
                    let bridgeMAC = link(edge.link.master)?.mac
                    let point = ObservationPoint(
                        interfaceIndex: edge.link.index, podMAC: edge.podMAC,
                        deviceMAC: edge.link.mac == bridgeMAC ? nil : edge.link.mac, domain: domain)
                    return Place(
                        life: edge.life, name: edge.link.name, isUp: edge.link.isUp, point: point)
                }
            }
        }
        return places.sorted { $0.point.interfaceIndex < $1.point.interfaceIndex }
    }

    /// What is offered to a sensor: the stream, with the addresses by which a sensor's rule can
    /// choose it. Those are the node's own ones, and one inside each pod network.
    func devices(_ settings: Settings) -> [Device] {
        let own = uplinkAddresses.map {
            Device.Address($0.address, prefixBitCount: $0.prefixBitCount)
        }
        let inside = settings.podNetworks.compactMap { network in
            address(inside: network).map {
                Device.Address($0, prefixBitCount: network.prefixBitCount)
            }
        }
        var seen: Set<Device.Address> = []
        let addresses = (own + inside).filter { seen.insert($0).inserted }
        return [
            Device(
                name: settings.device, description: "every pod of this node, each packet once",
                isPreselected: true, addresses: addresses)
        ]
    }

    /// The node's own address inside a network, if it has one (a bridge's), or else a pod's.
    private func address(inside network: Network) -> IPAddress? {
        let own = addresses.map(\.address).filter(network.contains)
        let pods = edges.flatMap { $0.podAddresses ?? [] }.filter(network.contains)
        return own.min() ?? pods.min()
    }
}
