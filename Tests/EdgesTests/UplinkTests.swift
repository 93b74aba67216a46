import Addressing
import Edges
import Netlink
import Settings
import Testing

/// Which veths are uplinks: by routes, by addresses, and by what is behind them.
@Suite("An uplink")
struct UplinkTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        /// The destination and the gateway of each route through the veth.
        var routes: [(destination: String, gateway: String?)] = []
        /// The node's address on the veth, with its prefix.
        var own: [String] = []
        /// The addresses at the other end; nil if they are not known.
        var pod: [String]?
        var podNetworks = ["10.244.0.0/16", "fd00:10:244::/56"]
        /// The node's address in its pods' network, on another interface.
        var gateway: String? = "10.244.1.1"
        let isUplink: Bool
    }

    static let cases = [
        Case(
            testDescription: "a default route", routes: [("0.0.0.0/0", nil)], isUplink: true),
        Case(
            testDescription: "a second uplink, with a gateway to another node's pods",
            routes: [("10.244.2.0/24", "192.168.77.2")], own: ["192.168.77.1/24"],
            pod: ["192.168.77.2"], isUplink: true),
        Case(
            testDescription: "no default route, but an address that others route to",
            own: ["192.168.77.1/24"], pod: ["192.168.77.2"], isUplink: true),
        Case(
            testDescription: "kind: a port of the host's bridge is behind it",
            own: ["172.19.0.2/16"], pod: ["fe80::1"], isUplink: true),
        Case(
            testDescription: "IPv6 alone, from router advertisements",
            routes: [("::/0", "fe80::1")], own: ["2001:db8::2/64"], pod: ["fe80::1"],
            isUplink: true),
        Case(
            testDescription: "what is behind it is not known, and a gateway is",
            routes: [("10.0.0.0/8", "192.168.77.2")], own: ["192.168.77.1/24"], isUplink: true),
        Case(
            testDescription: "no pod networks are set",
            routes: [("10.0.0.0/8", "192.168.77.2")], pod: ["192.168.77.2"], podNetworks: [],
            isUplink: true),
        Case(
            testDescription: "the agent is in a pod's own network",
            routes: [("0.0.0.0/0", "10.244.1.1")], own: ["10.244.1.2/24"], pod: ["10.244.1.1"],
            isUplink: true),
        Case(
            testDescription: "a default route through a known pod",
            routes: [("0.0.0.0/0", "10.244.1.2")], own: ["10.244.1.1/32"], pod: ["10.244.1.2"],
            isUplink: false),
        Case(
            testDescription: "a VPN's network through a known pod",
            routes: [("10.8.0.0/24", "10.244.1.2")], own: ["10.244.1.1/32"],
            pod: ["10.244.1.2", "fe80::1"], isUplink: false),
        Case(
            testDescription: "a network of its own for one pod", own: ["10.244.1.1/30"],
            pod: ["10.244.1.2"], isUplink: false),
        Case(
            testDescription: "the same before the pod has its address", own: ["10.244.1.1/30"],
            pod: [], isUplink: false),
        Case(
            testDescription: "a pod that is reached on the link", routes: [("10.244.1.2/32", nil)],
            own: ["169.254.1.1/16"], pod: ["10.244.1.2"], isUplink: false),
        Case(testDescription: "a pod that is not known", own: ["10.9.1.1/24"], isUplink: false),
        Case(
            testDescription: "pod networks that the node knows nothing of",
            own: ["10.9.1.1/24"], pod: ["10.9.1.2"], gateway: nil, isUplink: false),
        Case(
            testDescription: "a pod with link-local addresses alone",
            own: ["fe80::2/64"], pod: ["fe80::1"], isUplink: false),
    ]

    @Test("is a veth through which others are reached, unless a known pod is", arguments: cases)
    func uplink(_ test: Case) throws {
        var table = EdgeTable()
        var link = Link(index: 7)
        (link.name, link.kind, link.peerIndex, link.peerNamespace) = ("v", "veth", 2, 1)
        table.apply(.link(link))
        let routes = try test.routes.map { route in
            Route(
                destination: try #require(IPNetwork(route.destination)),
                gateway: route.gateway.flatMap { IPAddress($0) }, interfaceIndex: 7)
        }
        let own = test.own.compactMap { text -> InterfaceAddress? in
            let parts = text.split(separator: "/")
            guard let address = IPAddress(String(parts[0])), let count = Int(parts[1]) else {
                return nil
            }
            return InterfaceAddress(
                interfaceIndex: 7, address: address, prefixBitCount: count)
        }
        let gateway = test.gateway.flatMap { IPAddress($0) }.map { address in
            InterfaceAddress(interfaceIndex: 3, address: address, prefixBitCount: 24)
        }
        table.reset(addresses: own + [gateway].compactMap { $0 }, routes: routes)
        if let pod = test.pod {
            table.set(
                EdgeTable.Pod(addresses: pod.compactMap { IPAddress($0) }, mac: nil), behind: 7)
        }
        let selection = EdgeSelection(
            podNetworks: test.podNetworks.compactMap { IPNetwork($0) })
        #expect((table.node(selection).veths.map(\.status) == [.uplink]) == test.isUplink)
    }
}
