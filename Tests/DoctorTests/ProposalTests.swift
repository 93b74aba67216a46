import Addressing
import Doctor
import Edges
import Netlink
import Settings
import Testing

/// What is proposed for networks that are not set, as nodes of various clusters show it.
@Suite("A proposal")
struct ProposalTests {
    private static func networks(_ text: String) -> [IPNetwork] {
        text.split(separator: " ").compactMap { IPNetwork(String($0)) }
    }

    private static func addresses(_ text: String) -> [IPAddress] {
        text.split(separator: " ").compactMap { IPAddress(String($0)) }
    }

    /// Pods' addresses, this node's networks, others' networks, what is taken, and what is proposed.
    typealias Row = (
        pods: String, own: String, others: String, taken: String, proposed: String
    )

    static let rows: [Row] = [
        // Nothing is known.
        ("", "", "", "", ""), ("", "", "10.244.2.0/24", "", ""),
        // One node tells of itself alone.
        ("10.244.1.2 10.244.1.9", "10.244.1.0/24", "", "", "10.244.1.0/24"),
        ("10.244.1.2 10.244.1.9", "10.244.1.2/32 10.244.1.9/32", "", "", "10.244.1.0/24"),
        ("10.244.1.2 10.244.9.9", "", "", "", "10.244.0.0/20"),
        // Routes to others show that the cluster's network is wider.
        ("10.244.1.2", "10.244.1.0/24", "10.244.2.0/24", "", "10.244.0.0/16"),
        ("10.42.0.5", "10.42.0.0/24", "10.42.1.0/24 10.42.7.0/24", "", "10.42.0.0/16"),
        // A network that is far, of another size, or wider is somebody else's.
        ("10.4.1.2", "10.4.1.0/24", "10.5.3.0/24", "", "10.4.1.0/24"),
        ("10.244.0.2", "10.244.0.0/24", "10.250.0.0/16", "", "10.244.0.0/24"),
        ("10.1.0.2", "10.1.0.0/24", "10.8.0.0/24", "", "10.1.0.0/24"),
        ("10.244.1.2", "10.244.1.0/24", "10.244.2.64/26", "", "10.244.1.0/24"),
        ("10.244.1.2", "10.244.1.0/24", "10.244.0.0/16", "", "10.244.1.0/24"),
        ("10.244.1.2 10.250.1.1", "", "", "", "10.244.1.0/24 10.250.1.0/24"),
        // Each pod has a route of its own, as with kindnet.
        ("10.244.1.2", "10.244.1.2/32", "10.244.2.0/24 10.250.2.0/24", "", "10.244.0.0/16"),
        // A gateway to a block does not tell whose it is.
        ("192.168.31.5", "192.168.31.5/32", "192.168.80.64/26", "", "192.168.31.0/24"),
        // Both families.
        (
            "10.244.1.2 fd00:10:244:1::2", "10.244.1.0/24 fd00:10:244:1::/64",
            "10.244.2.0/24 fd00:10:244:2::/64", "", "10.244.0.0/16 fd00:10:244::/56"
        ),
        ("fd00:10:244:1::2 fd00:10:244:1::77", "", "", "", "fd00:10:244:1::/64"),
        // Not into what is the node's own, or a service's.
        (
            "10.244.1.2", "10.244.1.0/24", "10.244.2.0/24", "10.244.200.0/24", "10.244.0.0/22"
        ),
        ("10.0.1.2", "10.0.1.0/24", "10.0.2.0/24", "10.0.0.10/32", "10.0.1.0/24 10.0.2.0/24"),
        // A route into the company's network is none to other pods.
        ("10.244.1.2", "10.244.1.0/24", "10.20.0.0/16 172.16.0.0/12", "", "10.244.1.0/24"),
        ("10.244.1.2", "10.244.1.0/24", "10.0.0.0/8", "", "10.244.1.0/24"),
        // Two pools.
        (
            "10.244.1.2 10.9.1.2", "10.244.1.0/24 10.9.1.0/24", "10.244.2.0/24", "",
            "10.9.1.0/24 10.244.0.0/16"
        ),
        // A cloud's pods are in the node's own network.
        ("10.1.2.3", "10.1.2.0/24", "", "10.1.2.0/24", "10.1.2.0/24"),
    ]

    @Test(
        "is the smallest that covers what is seen, widened where others are",
        arguments: 0..<rows.count)
    func podNetworks(row: Int) {
        let row = Self.rows[row]
        var evidence = PodNetworkProposal.Evidence()
        evidence.pods = [Self.addresses(row.pods)].filter { !$0.isEmpty }
        evidence.ownNetworks = Self.networks(row.own)
        evidence.otherNetworks = Self.networks(row.others)
        evidence.taken = Self.networks(row.taken)
        let found = PodNetworkProposal(evidence)
        #expect(found.networks == Self.networks(row.proposed), "\(row): \(found.networks)")
        for address in Self.addresses(row.pods) {
            #expect(found.networks.contains { $0.contains(address) })
        }
    }

    static let tunnelRows: [Row] = [
        // Blocks of Calico.
        ("192.168.31.5", "192.168.31.5/32", "192.168.80.64/26", "10.0.0.0/24", "192.168.0.0/16"),
        // One route for all nodes, as flannel has it with WireGuard.
        ("10.244.1.2", "10.244.1.0/24", "10.244.0.0/16", "", "10.244.0.0/16"),
        // Networks of various sizes are not made one.
        (
            "10.244.1.2", "10.244.1.0/24", "10.244.7.64/26 10.244.9.0/24", "",
            "10.244.1.0/24 10.244.7.64/26 10.244.9.0/24"
        ),
        ("10.1.0.2", "10.1.0.0/24", "10.8.0.0/24 10.0.0.0/8", "", "10.1.0.0/24"),
    ]

    @Test("covers what a plug-in's tunnel leads to", arguments: 0..<tunnelRows.count)
    func tunnels(row: Int) {
        let row = Self.tunnelRows[row]
        var evidence = PodNetworkProposal.Evidence()
        evidence.pods = [Self.addresses(row.pods)]
        evidence.ownNetworks = Self.networks(row.own)
        evidence.tunnelNetworks = Self.networks(row.others)
        evidence.taken = Self.networks(row.taken)
        let found = PodNetworkProposal(evidence)
        #expect(found.networks == Self.networks(row.proposed), "\(row): \(found.networks)")
        #expect(found.isOfCluster == (row.pods != "10.1.0.2"))
    }

    @Test("of service networks has nothing of what is taken")
    func takenServiceNetworks() {
        for (addresses, taken, proposed) in [
            ("10.0.200.1", "10.0.1.0/24", "10.0.200.0/24"),
            ("10.100.0.1", "10.101.1.0/24 100.64.0.0/24", "10.100.0.0/16"),
            ("10.96.0.1 10.100.0.1", "", "10.96.0.0/12"),
        ] {
            let found = ServiceNetworkProposal(
                Self.addresses(addresses), besides: Self.networks(taken))
            #expect(found.networks == Self.networks(proposed), "\(addresses): \(found.networks)")
        }
    }

    @Test("says what it covers")
    func reason() {
        var evidence = PodNetworkProposal.Evidence()
        evidence.pods = [Self.addresses("10.244.1.2 fd00::2"), Self.addresses("10.244.1.3")]
        evidence.ownNetworks = Self.networks("10.244.1.0/24")
        let reason = PodNetworkProposal(evidence).reason
        #expect(reason.hasPrefix("it covers 2 pods of this node; no route"))
        evidence.otherNetworks = Self.networks("10.244.2.0/24 10.244.3.0/24 172.16.0.0/12")
        #expect(
            PodNetworkProposal(evidence).reason
                == "it covers 2 pods of this node and 2 routes to other nodes")
    }

    @Test(
        "has service networks that installers make, or what is around their addresses",
        arguments: [
            ("10.96.0.1 10.103.2.2", "10.96.0.0/12"), ("10.43.0.10", "10.43.0.0/16"),
            ("fd00:10:96::a", "fd00:10:96::/112"),
            ("10.96.0.10 fd00:10:96::a", "10.96.0.0/12 fd00:10:96::/112"),
            ("192.168.77.1 192.168.77.9", "192.168.77.0/24"), ("10.244.3.1", "10.244.3.1/32"),
            ("10.96.0.10 203.0.113.9", "10.96.0.0/12 203.0.113.0/24"), ("", ""),
        ])
    func serviceNetworks(addresses: String, proposed: String) {
        let found = ServiceNetworkProposal(
            Self.addresses(addresses), besides: Self.networks("10.244.0.0/16"))
        #expect(found.networks == Self.networks(proposed), "\(found.networks)")
    }

    @Test("stays short and soon done, whatever is called", .timeLimit(.minutes(10)))
    func many() {
        let addresses = (0..<10_000).flatMap { number in
            [
                IPAddress(ipv4: 0x0a00_0000 + UInt32(number) * 1677),
                IPAddress(ipv6High: 0xfd00_0000_0000_0000 + UInt64(number), low: 1),
            ]
        }
        let found = ServiceNetworkProposal(addresses, besides: [])
        #expect((1...16).contains(found.networks.count), "\(found.networks)")
        var evidence = PodNetworkProposal.Evidence()
        evidence.pods = addresses.prefix(500).map { [$0] }
        evidence.taken = addresses.map { IPNetwork($0, prefixBitCount: $0.family.bitCount) }
        #expect(PodNetworkProposal(evidence).podCount == 500)
    }
}

/// What is proposed on a node that is examined.
@Suite("An examination that lacks settings")
struct UnsetTests {
    private static func address(_ text: String) -> IPAddress {
        IPAddress(text) ?? IPAddress(ipv4: 0)
    }

    private static func network(_ text: String) -> IPNetwork {
        IPNetwork(text) ?? IPNetwork(IPAddress(ipv4: 0), prefixBitCount: 32)
    }

    /// A node with the pod 10.244.1.2 on `cni0`, a route to another node's pods, and a call.
    private static func examination(
        _ environment: [String: String], uplink uplinkAddress: String = "192.168.100.1",
        to other: String? = "10.244.2.0/24"
    ) -> Examination {
        var examination = Examination(
            ExaminedSettings(options: [:], variables: Array(environment.keys)) { environment[$0] })
        var table = EdgeTable()
        var (uplink, bridge, veth) = (Link(index: 2), Link(index: 3), Link(index: 6))
        uplink.name = "eth0"
        (bridge.name, bridge.kind) = ("cni0", "bridge")
        (veth.name, veth.kind, veth.master) = ("v6", "veth", 3)
        (veth.peerIndex, veth.peerNamespace) = (2, 1)
        for link in [uplink, bridge, veth] { table.apply(.link(link)) }
        table.set(EdgeTable.Pod(addresses: [address("10.244.1.2")], mac: nil), behind: 6)
        let route = { (to: String, via: String?, index: UInt32) in
            Route(
                destination: network(to), gateway: via.map(address), interfaceIndex: index)
        }
        table.reset(
            addresses: [
                InterfaceAddress(
                    interfaceIndex: 2, address: address(uplinkAddress), prefixBitCount: 24),
                InterfaceAddress(
                    interfaceIndex: 3, address: address("10.244.1.1"), prefixBitCount: 24),
            ],
            routes: [
                route("0.0.0.0/0", "192.168.100.100", 2), route("192.168.100.0/24", nil, 2),
                route("10.244.1.0/24", nil, 3),
            ] + [other].compactMap(\.self).map { route($0, "192.168.100.2", 2) })
        let node = table.node(examination.settings.edges)
        examination.node = node
        examination.translatedFlows = [
            TrackedFlow(
                original: FlowKey(
                    transport: 17, source: address("10.244.1.2"),
                    destination: address("10.96.0.53"), sourcePort: 40000, destinationPort: 53),
                reply: FlowKey(
                    transport: 17, source: address("10.244.2.3"),
                    destination: address("10.244.1.2"), sourcePort: 5353, destinationPort: 40000))
        ]
        return examination
    }

    private static func finding(_ check: String, _ examination: Examination) throws -> Finding {
        try #require(Doctor.findings(examination).first { $0.check == check })
    }

    @Test("has the pod networks fail, with what to set", arguments: [nil, "pods", "10.244.0.0/33"])
    func podNetworks(given: String?) throws {
        let node = Self.examination(given.map { ["PODNET": $0] } ?? [:])
        let finding = try Self.finding("pod-networks", node)
        #expect(finding.grade == .failed)
        #expect(finding.found.contains(given.map { "PODNET=\($0) cannot be" } ?? "none given"))
        #expect(finding.found.contains("10.244.1.2 (v6)"))
        #expect(
            finding.remedy?.contains(
                "PODNET=10.244.0.0/16: it covers 1 pod of this node and 1 route to other nodes")
                == true, "\(finding)")
        let services = try Self.finding("service-networks", node)
        #expect(services.grade == .warning && services.found.contains("10.96.0.53"), "\(services)")
        #expect(services.remedy?.contains("perhaps 10.96.0.0/12") == true)
        #expect(try Self.finding("edges", node).grade == .ok)
    }

    @Test("names the cluster's API as a service")
    func kubernetes() throws {
        var node = Self.examination(["KUBERNETES_SERVICE_HOST": "10.43.0.1"])
        node.translatedFlows = []
        node.kubernetesService = node.examined.kubernetesService
        let finding = try Self.finding("service-networks", node)
        #expect(
            finding.remedy?.contains("SVCNET=10.43.0.0/16: it has 10.43.0.1 (the cluster's API)")
                == true, "\(finding)")
    }

    @Test("proposes no service network that contains the node's own")
    func uplink() {
        for (uplink, service, proposed) in [
            ("10.0.1.5", "10.0.200.1", "10.0.200.0/24"),
            ("10.101.1.5", "10.100.0.1", "10.100.0.0/16"),
            ("192.168.100.1", "10.100.0.1", "10.100.0.0/16"),
        ] {
            var node = Self.examination(["KUBERNETES_SERVICE_HOST": service], uplink: uplink)
            node.translatedFlows = []
            node.kubernetesService = node.examined.kubernetesService
            #expect(node.serviceNetworkProposal.value == proposed)
        }
    }

    @Test("tells the plug-in's tunnel from another one by its address")
    func tunnels() {
        for (address, other, proposed) in [
            ("10.244.1.0", "10.244.0.0/16", "10.244.0.0/16"),
            ("10.244.9.1", "10.244.0.0/16", "10.244.1.0/24"),
            ("10.8.0.2", "10.250.0.0/24", "10.244.1.0/24"),
        ] {
            var table = EdgeTable()
            var (veth, tunnel) = (Link(index: 6), Link(index: 7))
            (veth.name, veth.kind, veth.peerIndex, veth.peerNamespace) = ("v6", "veth", 2, 1)
            (tunnel.name, tunnel.kind) = ("tunnel", "wireguard")
            for link in [veth, tunnel] { table.apply(.link(link)) }
            table.set(EdgeTable.Pod(addresses: [Self.address("10.244.1.2")], mac: nil), behind: 6)
            let routes = [("10.244.1.0/24", UInt32(6)), (other, 7)].map {
                Route(destination: Self.network($0), gateway: nil, interfaceIndex: $1)
            }
            let own = InterfaceAddress(
                interfaceIndex: 7, address: Self.address(address), prefixBitCount: 32)
            table.reset(addresses: [own], routes: routes)
            var node = Examination(ExaminedSettings(options: [:]) { _ in nil })
            node.node = table.node(node.settings.edges)
            #expect(node.podNetworkProposal?.value == proposed, "\(address)")
        }
    }

    @Test("names what to set for pod networks of another cluster")
    func otherPodNetworks() throws {
        let node = Self.examination(["PODNET": "10.9.0.0/16"])
        let findings = Doctor.findings(node).filter { $0.check == "pod-networks" }
        #expect(findings.count == 1 && findings[0].grade == .failed, "\(findings)")
        #expect(findings[0].remedy?.contains("set PODNET=10.244.0.0/16: it covers") == true)
    }

    @Test("has findings and a list without control characters")
    func controlCharacters() {
        let node = Self.examination([
            "PODNET": "10.244.0.0/16\u{1b}[31m", "PODWIRE_X\u{1b}[2J\n- name: A": "1",
            "PODWIRE_NICE": "1\u{85}\u{1b}c\u{2028}", "PODWIRE_NODE_NAME": "n",
            "EXTRAHOP_SENSOR_IP": "192.0.2.1", "PODWIRE_FILTER": "ü\u{1b}\u{1f600}\"",
        ])
        let findings = Doctor.findings(node)
        for text in findings.flatMap({ [$0.found, $0.meaning, $0.remedy].compactMap(\.self) }) {
            #expect(!text.unicodeScalars.contains { $0.value < 32 || 0x7f...0x9f ~= $0.value })
        }
        let text = EnvironmentManifest(node).text
        #expect(
            !text.unicodeScalars.contains {
                $0.value < 32 && $0 != "\n" || 0x7f...0x9f ~= $0.value || $0.value == 0x2028
            })
        #expect(!text.contains("\n- name: A"))
    }

    @Test("has no list to apply where something is wrong, or known of one node alone")
    func incompleteManifest() {
        let sensor = ["EXTRAHOP_SENSOR_IP": "192.0.2.10"]
        #expect(EnvironmentManifest(Self.examination(sensor)).isComplete)
        let alone = EnvironmentManifest(Self.examination(sensor, to: nil))
        #expect(!alone.isComplete)
        #expect(alone.text.contains("  # - name: PODNET\n  #   value: \"10.244.1.0/24\"\n"))
        let faulty = sensor.merging(["PODWIRE_NICE": "very"]) { $1 }
        #expect(!EnvironmentManifest(Self.examination(faulty)).isComplete)
        let mistyped = EnvironmentManifest(
            Self.examination(sensor.merging(["PODWIRE_ALOW": "192.0.2.7"]) { $1 }))
        #expect(!mistyped.isComplete && mistyped.text.contains("  # PODWIRE_ALOW is no setting"))
        let named = sensor.merging(["PODWIRE_FILTER_FILE": "/é\u{1f600}\"\u{1b}"]) { $1 }
        let text = EnvironmentManifest(Self.examination(named)).text
        #expect(text.contains(#"value: "/\u00e9\U0001f600\"\u001b""#), "\(text)")
    }

    @Test("warns of an empty PODNET, and says what it implies")
    func emptyPodNetworks() throws {
        var node = Self.examination(["PODNET": ""])
        let read = try #require(node.node)
        let onLink = try #require(OnLinkPodNetworks(read))
        #expect(onLink.networks == [Self.network("192.168.100.0/24")])
        #expect(onLink.interfaces == ["eth0"])
        #expect(try Self.finding("pod-networks", node).grade == .failed)
        node.take(onLink)
        let finding = try Self.finding("pod-networks", node)
        #expect(finding.grade == .warning && finding.found.contains("192.168.100.0/24 of eth0"))
        #expect(finding.meaning?.contains("10.244.1.2 (v6) lie outside") == true, "\(finding)")
        #expect(finding.remedy?.contains("PODNET=10.244.0.0/16") == true)
    }

    @Test("has a finding for each setting that cannot be understood, and for each that is none")
    func faults() throws {
        let node = Self.examination([
            "PODNET": "10.244.0.0/16", "PODWIRE_NICE": "very", "PODWIRE_FRAMES": "x",
            "PODWIRE_DEDUPE": "off", "EXTRAHOP_SENSOR_IP": "a b/c",
        ])
        let findings = Doctor.findings(node).filter { $0.check == "settings" }
        #expect(findings.map(\.grade) == [.failed, .failed, .failed, .warning], "\(findings)")
        #expect(findings[3].found.hasSuffix("did you mean PODWIRE_DEDUP?"))
        // Its fault is said already.
        #expect(!Doctor.findings(node).contains { $0.check == "sensor" })
    }

    @Test("is a list for a manifest, of what is set and what is proposed")
    func manifest() {
        let node = Self.examination([
            "EXTRAHOP_SENSOR_IP": "192.0.2.10", "PODWIRE_NODE_NAME": "n1", "PODWIRE_NICE": "very",
            "PODWIRE_HTTP": "192.168.100.1:9464", "PODWIRE_FILTER": "not port 22",
        ])
        let manifest = EnvironmentManifest(node)
        // One of them cannot be understood.
        #expect(!manifest.isComplete)
        #expect(
            manifest.text == """
                env:
                  # set here by EXTRAHOP_SENSOR_IP
                  - name: EXTRAHOP_SENSOR_IP
                    value: "192.0.2.10"
                  # set here by PODWIRE_NODE_NAME: each node's own
                  - name: PODWIRE_NODE_NAME
                    valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
                  # proposed: it covers 1 pod of this node and 1 route to other nodes
                  - name: PODNET
                    value: "10.244.0.0/16"
                  # proposed: 10.96.0.53 is a service
                  - name: SVCNET
                    value: "10.96.0.0/12"
                  # set here by PODWIRE_FILTER
                  - name: PODWIRE_FILTER
                    value: "not port 22"
                  # PODWIRE_NICE=very cannot be understood: it takes a number from -20 to 19
                  # - name: PODWIRE_NICE
                  #   value:
                  # set here by PODWIRE_HTTP; 192.168.100.1 is this node's, each node needs its own
                  - name: PODWIRE_HTTP
                    value: "192.168.100.1:9464"

                """, "\(manifest.text)")
        let bare = EnvironmentManifest(Self.examination([:]))
        #expect(!bare.isComplete && bare.text.contains("# - name: EXTRAHOP_SENSOR_IP"))
    }
}
