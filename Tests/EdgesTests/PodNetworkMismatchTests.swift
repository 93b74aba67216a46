import Addressing
import Edges
import Linux
import Netlink
import Settings
import Testing

@Suite("Pod networks")
struct PodNetworkMismatchTests {
    private static let addresses = ["10.244.1.2", "fe80::1"]

    /// A node with a pod for each list of addresses; nil where they are not known.
    private func node(
        _ pods: [[String]?], _ selection: EdgeSelection
    ) throws -> Node {
        var table = EdgeTable()
        for (index, addresses) in zip(UInt32(6)..., pods) {
            var link = Link(index: index)
            (link.name, link.kind) = ("v\(index)", "veth")
            (link.peerIndex, link.peerNamespace) = (2, Int32(index))
            table.apply(.link(link))
            guard let addresses else { continue }
            let known = try addresses.map { try #require(IPAddress($0)) }
            table.set(EdgeTable.Pod(addresses: known, mac: nil), behind: index)
        }
        return table.node(selection)
    }

    @Test(
        "are others' if pods are known and none of them is in one",
        arguments: [
            // No pods, none that is known, and one that is being made.
            ([], nil), ([nil], nil), ([["fe80::1"]], nil), ([[], nil], nil),
            ([["10.99.1.2"]], nil), ([["10.244.1.2"], ["10.99.1.2"]], nil),
            ([["10.244.1.2", "10.99.1.2"]], nil),
            (
                [addresses],
                "the one pod here does not have an address in PODNET 10.99.0.0/16: it has 10.244.1.2"
            ),
            (
                [addresses, nil, ["10.244.1.3", "fd00::3"], ["10.244.1.4"]],
                """
                none of the 3 pods here has an address in PODNET 10.99.0.0/16: they have 10.244.1.2, \
                10.244.1.3, fd00::3 and 1 more
                """
            ),
        ] as [([[String]?], String?)])
    func mismatch(pods: [[String]?], text: String?) throws {
        let networks = ["10.99.0.0/16"].compactMap { IPNetwork($0) }
        let node = try node(pods, EdgeSelection(podNetworks: networks))
        let mismatch = PodNetworkMismatch(node, networks)
        #expect(mismatch?.description == text)
        #expect(mismatch?.isCaptured != true)
    }

    @Test("may be others' while settings have these pods captured, or left out")
    func selected() throws {
        let networks = ["10.99.0.0/16"].compactMap { IPNetwork($0) }
        for selection in [
            EdgeSelection(.all, podNetworks: networks),
            EdgeSelection(podNetworks: networks, included: ["v6"]),
        ] {
            let node = try node([Self.addresses, Self.addresses], selection)
            #expect(PodNetworkMismatch(node, networks)?.isCaptured == true)
        }
        let excluded = EdgeSelection(podNetworks: networks, excluded: ["v*"])
        let node = try node([Self.addresses], excluded)
        #expect(PodNetworkMismatch(node, networks) == nil)
    }
}
