import Edges
import Formats
import Netlink

/// Checks whether pods of several nodes share a segment: an uplink is a port of their bridge.
enum SharedSegmentCheck: DoctorCheck {
    static let id = "shared-segment"
    static let title = "shared segment"

    static func findings(_ node: Examination) -> [Finding] {
        guard let network = node.node else { return [] }
        let ports = network.portsOfOthers(isExcludedOne: false)
        guard !ports.isEmpty else { return [ok("no pods' bridge has an uplink as a port")] }
        let names = ports.map(\.port.name)
        let bridges = Set(ports.map(\.bridge.name)).sorted()
        let verb = names.count == 1 ? "is a port" : "are ports"
        let noun = bridges.count == 1 ? "bridge" : "bridges"
        return [
            finding(
                .warning,
                "\(Wording.few(names)) \(verb) of the pods' \(noun) \(Wording.few(bridges))",
                meaning: """
                    frames without a pod address that come from another node's pod, as in DHCP, are \
                    reported at both nodes until that pod has sent an ARP request, a neighbour \
                    solicitation or a datagram to a group of the link; broadcasts of machines that \
                    are no pods are reported once for each node
                    """,
                remedy: """
                    none is needed if the sensor can do with these copies; a network whose nodes \
                    route to each other's pods has none
                    """)
        ]
    }
}
