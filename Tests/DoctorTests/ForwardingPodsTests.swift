import Addressing
import Doctor
import Edges
import Formats
import Netlink
import Settings
import Testing

/// What the doctor finds of pods that forward.
@Suite("The doctor, about pods that forward")
struct ForwardingPodsTests {
    private static func findings(
        routes: [Route] = [], others: [String] = [], senders: [UnknownSender]? = nil,
        of check: String = "forwarding-pods"
    ) throws -> [Finding] {
        var examination = try ExaminedNode.examination(routes: routes, others: others)
        examination.senders = senders
        return Doctor.findings(examination).filter { $0.check == check }
    }

    private static func route(_ number: UInt32, _ network: UInt32 = 0x0a08_0000) -> Route {
        Route(
            destination: IPNetwork(
                IPAddress(ipv4: network + number << 8), prefixBitCount: 24),
            gateway: IPAddress("10.244.1.2"), interfaceIndex: nil)
    }

    @Test("says nothing of a node without them, nor of what is in the pod networks")
    func none() throws {
        for routes in [[], [Self.route(77, 0x0af4_0000)]] {
            #expect(try Self.findings(routes: routes).map(\.grade) == [.ok])
        }
        #expect(try Self.findings(senders: []).map(\.grade) == [.ok])
    }

    @Test("names the networks that routes lead to through a pod, and warns of too many")
    func routes() throws {
        let found = try Self.findings(routes: [Self.route(0)])
        #expect(found.map(\.grade) == [.note])
        #expect(found[0].found.contains("10.8.0.0/24 (v6)"))
        #expect(found[0].remedy?.contains("--pod-network") == true)
        let many = try Self.findings(routes: (0..<40).map { Self.route($0) })
        #expect(many.map(\.grade) == [.warning])
    }

    @Test(
        "grades an address on a pod's loopback as a network behind a pod, and one in SVCNET worse")
    func otherAddresses() throws {
        let found = try Self.findings(others: ["172.31.0.1", "10.244.9.9"])
        #expect(found.map(\.grade) == [.note] && found[0].found.hasSuffix(": 172.31.0.1 (v6)"))
        #expect(try Self.findings(routes: [Self.route(0)])[0].remedy == found[0].remedy)
        #expect(try Self.findings(others: ["172.31.0.1"], of: "pod-networks").map(\.grade) == [.ok])
        for service in [
            try Self.findings(others: ["10.99.0.1"]),
            try Self.findings(routes: [Self.route(0, 0x0a63_0000)]),
        ] {
            #expect(service.map(\.grade) == [.warning])
            #expect(service[0].remedy?.contains("--service-network") == true)
            #expect(service[0].remedy?.contains("--pod-network") == false)
        }
    }

    @Test("warns of a default route through a pod, and notes one that is not in use")
    func defaultRoutes() throws {
        let everything = try #require(IPNetwork("0.0.0.0/0"))
        let throughPod = Route(
            destination: everything, gateway: IPAddress("10.244.1.2"), interfaceIndex: nil,
            metric: 100)
        for (metric, grade) in [(200, .warning), (50, .note)] as [(UInt32, Finding.Grade)] {
            let other = Route(
                destination: everything, gateway: IPAddress("192.0.2.254"), interfaceIndex: 2,
                metric: metric)
            let found = try Self.findings(routes: [throughPod, other])
            #expect(found.map(\.grade) == [grade])
            #expect(found[0].found.contains("v6"))
        }
    }

    @Test("warns of the senders that an agent knows as nobody's")
    func senders() throws {
        let address = try #require(IPAddress("10.8.0.5"))
        let found = try Self.findings(senders: [UnknownSender(edge: "v6", address: address)])
        #expect(found.map(\.grade) == [.warning])
        #expect(found[0].found.contains("10.8.0.5 (v6)"))
        #expect(found[0].remedy?.contains("--uncovered") == true)
    }

    @Test("reads the senders from an agent's page")
    func page() throws {
        var table = EdgeTable()
        for (index, name) in [(6, "v6"), (7, "v7")] as [(UInt32, String)] {
            var link = Link(index: index)
            (link.name, link.kind, link.peerIndex) = (name, "veth", 2)
            link.peerNamespace = Int32(index)
            table.apply(.link(link))
        }
        let addresses = ["10.8.0.5", "fd00:8::5"].compactMap { IPAddress($0) }
        for address in addresses { table.addSender(address, behind: 7) }
        let page = "HTTP/1.1 200 OK\r\nserver: x\r\n\r\n" + table.node(EdgeSelection()).json.text
        let expected = addresses.map { UnknownSender(edge: "v7", address: $0) }
        #expect(UnknownSender.read(page) == expected)
        #expect(UnknownSender.read("nothing {\"senders\": [").isEmpty)
    }
}
