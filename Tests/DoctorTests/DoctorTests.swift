import Addressing
import Doctor
import Edges
import Glibc
import Linux
import Netlink
import PacketRing
import Settings
import Testing

extension Finding {
    fileprivate var text: String {
        [found, meaning, remedy].compactMap(\.self).joined(separator: " | ")
    }
}

/// The checks' findings about examinations that a test bed cannot have, and about limits.
@Suite("The doctor")
struct DoctorTests {
    private static func examination(_ more: [String: String] = [:]) -> Examination {
        let environment = ["PODNET": "10.244.0.0/16", "EXTRAHOP_SENSOR_IP": "192.0.2.1"]
        return Examination(ExaminedSettings(options: [:]) { more[$0] ?? environment[$0] })
    }

    /// The findings of one check.
    private static func findings(
        _ check: String, _ examination: Examination
    ) -> [Finding] {
        Doctor.findings(examination).filter { $0.check == check }
    }

    /// An examination of a node with the edge `v6`.
    private static func withEdge(
        _ more: [String: String] = [:], addresses: [String] = []
    ) throws -> Examination {
        var table = EdgeTable()
        table.apply(.link(veth(6)))
        if !addresses.isEmpty {
            table.set(EdgeTable.Pod(addresses: try addresses.map(address), mac: nil), behind: 6)
        }
        return try with(table, more)
    }

    private static func with(
        _ table: EdgeTable, _ more: [String: String] = [:]
    ) throws -> Examination {
        var examination = examination(more)
        examination.node = table.node(examination.settings.edges)
        return examination
    }

    private static func address(_ text: String) throws -> IPAddress {
        try #require(IPAddress(text))
    }

    @Test(
        "asks for the capabilities that are missing",
        arguments: [
            ([.netRaw, .netAdmin, .netBroadcast], [.ok]), ([.netRaw, .netAdmin], [.ok, .note]),
            ([.netRaw], [.warning]), ([.netAdmin, .netBroadcast], [.failed]),
            ([], [.failed, .warning]),
        ] as [([Capability], [Finding.Grade])])
    func capabilities(held: [Capability], grades: [Finding.Grade]) throws {
        var node = Self.examination()
        node.capabilities = Set(held)
        for isRoot in [true, false] {
            node.isRoot = isRoot
            let findings = Self.findings("capabilities", node)
            #expect(findings.map(\.grade) == grades)
            for finding in findings where finding.grade != .ok {
                #expect(finding.text.contains("runAsUser: 0") == !isRoot)
            }
        }
    }

    @Test(
        "knows what kernels lack",
        arguments: [
            (KernelRelease(4, 19), "wire", [.warning, .note, .note]),
            (KernelRelease(5, 10), "wire", [.note, .note]),
            (KernelRelease(5, 11), "wire", [.note]), (KernelRelease(5, 11), "raw", [.ok]),
            (KernelRelease(6, 2), "wire", [.ok]), (nil, "wire", [.ok]),
        ] as [(KernelRelease?, String, [Finding.Grade])])
    func kernels(release: KernelRelease?, frames: String, grades: [Finding.Grade]) throws {
        var node = Self.examination(["PODWIRE_FRAMES": frames])
        node.kernel = release
        #expect(Self.findings("kernel", node).map(\.grade) == grades)
    }

    @Test(
        "says what to do where a ring cannot be opened",
        arguments: [
            (.noMemory, "setsockopt PACKET_RX_RING: Cannot allocate memory", "more memory"),
            (
                .unsupportedOffload(.protocolOptionNotSupported),
                "setsockopt PACKET_VNET_HDR: Protocol not available", "--frames raw"
            ),
            (
                .system(SystemError("socket AF_PACKET", .addressFamilyNotSupported)),
                "socket AF_PACKET", "AF_PACKET"
            ),
        ] as [(Ring.Failure, String, String)])
    func rings(failure: Ring.Failure, reason: String, remedy: String) throws {
        var node = Self.examination()
        #expect(Self.findings("rings", node).isEmpty)
        node.ring = .failed(failure)
        let finding = try #require(Self.findings("rings", node).first)
        #expect(finding.grade == .failed && finding.remedy?.contains(remedy) == true)
        #expect(finding.found.contains(reason))
    }

    @Test(
        "compares what is allowed with what is there",
        arguments: [
            (Memory(availableByteCount: 256 << 20, limitByteCount: 80 << 20), 64, []),
            (Memory(availableByteCount: (256 << 20) - 1, limitByteCount: nil), 64, ["ring-memory"]),
            (Memory(availableByteCount: nil, limitByteCount: (80 << 20) - 1), 64, ["queue-memory"]),
            (Memory(availableByteCount: nil, limitByteCount: nil), 63, ["descriptors"]),
        ] as [(Memory, Int, [String])])
    func memory(memory: Memory, descriptorCountMax: Int, warned: [String]) throws {
        var node = Self.examination()
        node.memory = memory
        node.descriptorCountMax = descriptorCountMax
        let checks = ["ring-memory", "queue-memory", "descriptors"]
        let findings = Doctor.findings(node).filter { checks.contains($0.check) }
        #expect(findings.map(\.check) == checks)
        #expect(findings.filter { $0.grade != .ok }.map(\.check) == warned)
    }

    @Test(
        "warns of packets that are larger than the ring memory allows",
        arguments: [
            (65_536, "1MiB", .ok, "64 KiB"), (185_000, "256MiB", .ok, "180 KiB"),
            (524_280, "16MiB", .ok, "511 KiB"), (524_280, "2MiB", .warning, "v6"),
            (185_000, "1MiB", .ok, "180 KiB"), (300_000, "1MiB", .warning, "--ring-memory"),
        ] as [(Int, String, Finding.Grade, String)])
    func largePackets(byteCount: Int, memory: String, grade: Finding.Grade, text: String) throws {
        var table = EdgeTable()
        var link = Self.veth(6)
        link.gsoByteCountMax = byteCount
        table.apply(.link(link))
        let node = try Self.with(table, ["PODWIRE_RING_MEMORY": memory])
        let findings = Self.findings("large-packets", node)
        #expect(findings.map(\.grade) == [grade])
        #expect(findings.allSatisfy { $0.text.contains(text) })
        #expect(Self.findings("large-packets", Self.examination()).isEmpty)
    }

    @Test("finds devices of kind netkit, which need a tap inside the pod")
    func netkit() throws {
        var table = EdgeTable()
        var kit = Link(index: 5)
        (kit.name, kit.kind) = ("lxc1", "netkit")
        (kit.peerIndex, kit.peerNamespace) = (2, 5)
        table.apply(.link(kit))
        let alone = Self.findings("data-path", try Self.with(table))
        #expect(alone.map(\.grade) == [.failed] && alone[0].found.contains("lxc1"))
        table.apply(.link(Self.veth(6)))
        let node = try Self.with(table)
        #expect(Self.findings("data-path", node).map(\.grade) == [.warning])
        #expect(Self.findings("edges", node).map(\.grade) == [.ok])
    }

    private static func veth(_ index: UInt32) -> Link {
        var link = Link(index: index)
        (link.name, link.kind) = ("v\(index)", "veth")
        (link.peerIndex, link.peerNamespace) = (2, Int32(index))
        return link
    }

    @Test(
        "compares pods' addresses with the pod networks",
        arguments: [
            (["10.244.1.2", "fe80::1"], "10.244.0.0/16", [.ok]),
            (["10.244.1.2", "fd00::2"], "10.244.0.0/16", [.warning]),
            (["10.244.1.2", "fd00::2"], "10.244.0.0/16,fd00::/64", [.ok]),
            (["10.244.1.2"], "10.244.0.0/16,fd00::/64", [.note]),
            (["fe80::1"], "10.244.0.0/16", [.ok]), (["10.1.0.2"], "10.244.0.0/16", [.failed]),
        ] as [([String], String, [Finding.Grade])])
    func podNetworks(addresses: [String], networks: String, grades: [Finding.Grade]) throws {
        let node = try Self.withEdge(["PODNET": networks], addresses: addresses)
        let findings = Self.findings("pod-networks", node)
        #expect(findings.map(\.grade) == grades, "\(findings)")
    }

    @Test(
        "believes the counters of both ends of a veth",
        arguments: [
            // What the pod got, what the host sent it, what the pod sent, and the kernel.
            (1000, 1000, 0, KernelRelease(6, 18), .ok), (1009, 1000, 0, KernelRelease(6, 18), .ok),
            (1010, 1000, 0, KernelRelease(6, 18), .warning),
            // Read later, the host has sent more.
            (1000, 5000, 0, KernelRelease(6, 18), .ok),
            // Older kernels do not count what bypasses the veth.
            (50, 50, 5000, KernelRelease(6, 6), .note), (50, 50, 5000, KernelRelease(6, 7), .ok),
            (50, 50, 900, KernelRelease(6, 6), .ok), (600, 600, 5000, KernelRelease(6, 6), .ok),
        ] as [(UInt64, UInt64, UInt64, KernelRelease, Finding.Grade)])
    func dataPaths(
        received: UInt64, delivered: UInt64, said: UInt64, release: KernelRelease,
        grade: Finding.Grade
    ) throws {
        var node = try Self.withEdge()
        node.kernel = release
        var link = Link(index: 1)
        (link.name, link.kind) = ("v1", "veth")
        let veth = PairCounters(
            link, pod: LinkCounters(receivedPacketCount: received, sentPacketCount: said),
            host: LinkCounters(receivedPacketCount: said, sentPacketCount: delivered))
        node.pairCounters = .success([veth])
        #expect(Self.findings("data-path", node).map(\.grade) == [grade])
    }

    @Test("judges no data path that it cannot see")
    func unknownDataPath() throws {
        var node = try Self.withEdge()
        #expect(Self.findings("data-path", node).isEmpty)
        node.pairCounters = .failure(SystemError("netlink", .wouldBlock))
        #expect(Self.findings("data-path", node).map(\.grade) == [.note])
    }

    @Test(
        "looks at what connection tracking has and tells",
        arguments: [
            (ConntrackState(failure: nil, count: 1, countMax: 100, events: 1), [.ok]),
            (ConntrackState(failure: nil, count: 90, countMax: 100, events: 2), [.note]),
            (ConntrackState(failure: nil, count: 90, countMax: 100, events: 0), [.note, .warning]),
            (ConntrackState(failure: nil, count: nil, countMax: nil, events: nil), [.ok]),
            (
                ConntrackState(
                    failure: SystemError("bind", .protocolNotSupported), count: 9, countMax: 9,
                    events: 0),
                [.warning]
            ),
        ] as [(ConntrackState, [Finding.Grade])])
    func connectionTracking(state: ConntrackState, grades: [Finding.Grade]) throws {
        for (deduplication, grades) in [("on", grades), ("off", [.ok])] {
            var node = Self.examination(["PODWIRE_DEDUP": deduplication])
            node.conntrack = state
            #expect(Self.findings("connection-tracking", node).map(\.grade) == grades)
        }
    }

    @Test(
        "sees services in what is translated, and nothing else",
        arguments: [
            ("10.244.1.2", "10.100.7.8", "10.244.2.3", true),
            ("fd00::2", "fd98::1", "fd00::3", true),
            // A client from outside, a node port, a backend that is no pod, and a pod's own port.
            ("192.0.2.9", "10.100.7.8", "10.244.2.3", false),
            ("10.244.1.2", "192.0.2.20", "10.244.2.3", false),
            ("10.244.1.2", "10.100.0.1", "192.0.2.21", false),
            ("10.244.1.2", "10.244.2.3", "10.244.2.3", false),
        ])
    func services(client: String, called: String, backend: String, isService: Bool) throws {
        let (client, called) = (try Self.address(client), try Self.address(called))
        let flow = TrackedFlow(
            original: FlowKey(
                transport: 6, source: client, destination: called, sourcePort: 4000,
                destinationPort: 80),
            reply: FlowKey(
                transport: 6, source: try Self.address(backend), destination: client,
                sourcePort: 8080, destinationPort: 4000))
        // The node has an address of its own, which is the gateway of a route into the pod networks.
        var table = EdgeTable()
        table.reset(
            addresses: [],
            routes: [
                Route(
                    destination: try #require(IPNetwork("10.244.9.0/24")),
                    gateway: try Self.address("192.0.2.20"), interfaceIndex: 1)
            ])
        var node = try Self.with(table, ["PODNET": "10.244.0.0/16,fd00::/64"])
        node.translatedFlows = [flow]
        let isNodePort = "\(called)" == "192.0.2.20"
        // The client of the node port is none of this node's pods, and then one of them.
        for isLocal in [false, true] {
            if isLocal {
                table.apply(.link(Self.veth(6)))
                table.set(EdgeTable.Pod(addresses: [client], mac: nil), behind: 6)
                node.node = table.node(node.settings.edges)
            }
            let findings = Self.findings("service-networks", node)
            let isDoubled = isNodePort && !isLocal
            #expect(
                findings.map(\.grade) == [isService ? .warning : .note]
                    + (isDoubled ? [.warning] : []))
            let found = findings.map(\.found)
            #expect(found.contains { $0.contains("\(called)") } == (isService || isNodePort))
            #expect(found.contains { $0.contains("pods of other nodes") } == isDoubled)
        }
    }

    @Test(
        "guesses which network services are in",
        arguments: [
            (["10.43.0.10"], "10.43.0.0/16"),
            (["198.18.3.4"], "198.18.3.0/24"), (["198.18.3.4", "198.18.77.1"], "198.18.0.0/17"),
            // A usual one that has pods in it is none.
            (["10.100.3.4"], "10.100.3.0/24"),
            (["10.96.0.10", "10.105.3.4"], "10.96.0.0/24,10.105.3.0/24"),
            (["fd00:96::a"], "fd00:96::/112"),
        ])
    func guesses(addresses: [String], network: String) throws {
        let isIPv4 = try Self.address(addresses[0]).family == .ipv4
        let pods = isIPv4 ? "10.100.128.0/17" : "fd00:1::/64"
        let client = try Self.address(isIPv4 ? "10.100.128.2" : "fd00:1::2")
        let backend = try Self.address(isIPv4 ? "10.100.128.3" : "fd00:1::3")
        var node = try Self.with(EdgeTable(), ["PODNET": pods])
        node.translatedFlows = try addresses.map { called in
            TrackedFlow(
                original: FlowKey(
                    transport: 6, source: client, destination: try Self.address(called),
                    sourcePort: 4000, destinationPort: 80),
                reply: FlowKey(
                    transport: 6, source: backend, destination: client, sourcePort: 8080,
                    destinationPort: 4000))
        }
        let finding = try #require(Self.findings("service-networks", node).first)
        #expect(finding.remedy?.contains("perhaps \(network):") == true, "\(finding)")
    }

    @Test(
        "has advice for each way not to reach a sensor",
        arguments: [
            (ECONNREFUSED, "port 2003"), (ETIMEDOUT, "firewalls"), (ENETUNREACH, "ip route get"),
            (EHOSTUNREACH, "ip route get"), (EPERM, "own firewall"), (EIO, "what is between"),
        ])
    func sensors(code: CInt, advice: String) throws {
        let name = try #require(SensorName("192.0.2.1", standardPort: 2003))
        let peer = SocketAddress(try Self.address("192.0.2.1"), port: 2003)
        let error = SystemError("connect", Errno(rawValue: code))
        var node = Self.examination()
        node.sensors = [
            SensorTrial(name, .failed(peer, error)), SensorTrial(name, .silent(seconds: 15)),
        ]
        let findings = Self.findings("sensor", node)
        try #require(findings.count == 2)
        let (finding, silent) = (findings[0], findings[1])
        #expect(finding.grade == .warning && finding.remedy?.contains(advice) == true)
        #expect(silent.grade == .warning && silent.remedy?.contains("name servers") == true)
    }

    @Test("says of a tunnel what nobody can prove, and which packets go as fragments")
    func tunnel() throws {
        let name = try #require(SensorName("vxlan://192.0.2.1", standardPort: 2003))
        let peer = SocketAddress(try Self.address("192.0.2.1"), port: 4789)
        for (mtu, byteCountMax, snaplen, fragments) in [
            (1450, 1464, "262144", false), (1500, 1464, "262144", true),
            (1500, 1464, "1464", false), (9000, 9064, "262144", false),
        ] {
            var link = Self.veth(6)
            link.mtu = UInt32(mtu)
            var table = EdgeTable()
            table.apply(.link(link))
            table.set(
                EdgeTable.Pod(addresses: [try Self.address("10.244.1.2")], mac: nil), behind: 6)
            var node = try Self.with(table, ["PODWIRE_SNAPLEN": snaplen])
            node.sensors = [
                SensorTrial(name, .sendable(peer, frameByteCountMax: byteCountMax))
            ]
            let finding = try #require(Self.findings("sensor", node).first)
            #expect(finding.grade == (fragments ? .note : .ok), "\(finding)")
            #expect(finding.found.contains("nobody answers over UDP"))
            #expect((finding.remedy?.contains("--snaplen 1464") ?? false) == fragments)
        }
    }

    @Test(
        "has advice for each way not to be able to listen",
        arguments: [
            (EADDRINUSE, "ss -ltnp"), (EADDRNOTAVAIL, "of this node"),
            (EACCES, "CAP_NET_BIND_SERVICE"), (EINVAL, "another address"),
        ])
    func listener(code: CInt, advice: String) throws {
        var node = Self.examination([
            "PODWIRE_LISTEN": "10.77.0.1:80", "PODWIRE_HTTP": "10.77.0.1:81",
            "PODWIRE_ALLOW_NULL_LOGIN": "on",
        ])
        let state = PortState.failed(SystemError("bind", Errno(rawValue: code)))
        (node.clientPort, node.httpPorts) = (state, [state])
        let clients = try #require(Self.findings("listener", node).first)
        #expect(clients.grade == .failed && clients.remedy?.contains(advice) == true)
        let probes = try #require(Self.findings("http", node).first)
        #expect(probes.grade == .warning && probes.remedy?.contains(advice) == true)
    }

    @Test(
        "knows an agent's answer by its header, and nobody else's",
        arguments: [
            ("HTTP/1.1 200 OK\r\nserver: podwire\r\n\r\nalive", true),
            ("HTTP/1.1 503 Unavailable\r\na: b\r\nServer:podwire \r\n\r\n", true),
            ("HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6 Python/3.11\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\nServer: podwires\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\nServer: podwire\r\n\r\n", false),
            // Cut in the middle, no HTTP, and nothing.
            ("HTTP/1.1 200 OK\r\nServer: podwire", false),
            ("SSH-2.0-x\r\nServer: podwire\r\n\r\n", false), ("\r\n\r\n", false), ("", false),
            (String(repeating: "\r\n", count: 2000) + "\u{0}", false),
        ])
    func endpoints(answer: String, isAgent: Bool) {
        #expect(AgentProbe.isFromAgent(Array(answer.utf8)) == isAgent)
    }

    @Test(
        "doubts a clock",
        arguments: [
            (ClockReading(nowSeconds: 99, errorMicroseconds: 5, builtSeconds: 100), .warning),
            (ClockReading(nowSeconds: 100, errorMicroseconds: 5000, builtSeconds: 100), .ok),
            (ClockReading(nowSeconds: 100, errorMicroseconds: nil, builtSeconds: nil), .note),
            (ClockReading(nowSeconds: 100, errorMicroseconds: 1_000_001, builtSeconds: 1), .note),
        ] as [(ClockReading, Finding.Grade)])
    func clock(reading: ClockReading, grade: Finding.Grade) throws {
        var node = Self.examination()
        node.clock = reading
        #expect(Self.findings("clock", node).map(\.grade) == [grade])
    }

    @Test("finds who listens at a port")
    func listeners() {
        let (rest, end) = ("00000000:0000", "00000000:00000000 00:00000000 00000000     0        0")
        let table = """
              sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout
               0: 0100007F:07D2 \(rest) 0A \(end) 111 1 0000000000000000 100 0 0 10 0
               1: 0100007F:07D3 \(rest) 0A \(end) 112 1 0000000000000000 100 0 0 10 0
               2: 0100007F:07D2 0100007F:9C40 01 \(end) 113 1 0000000000000000 20 4 30 10 -1
               3: 00000000000000000000000000000000:07D2 \(rest) 0A \(end) 114 1 0000000000000000

            """
        #expect(RunningAgent.listeners(in: table, at: 2002) == [111, 114])
        #expect(RunningAgent.listeners(in: table, at: 2004).isEmpty)
        #expect(RunningAgent.listeners(in: "", at: 2002).isEmpty)
    }

    @Test("finds the packet sockets that receive every packet")
    func packetSockets() {
        let table = """
            sk               RefCnt Type Proto  Iface R Rmem   User   Inode
            0000000000000000 3      3    0003   7     1 0      0      111
            0000000000000000 3      3    0003   8     1 0      0      112
            0000000000000000 3      2    888e   7     1 0      0      113
            0000000000000000 3      3    0003   0     1 0      0      114

            """
        let sockets = PacketSocket.sockets(in: table)
        #expect(sockets.map(\.inode) == [111, 112, 114] && sockets.map(\.interface) == [7, 8, 0])
        #expect(PacketSocket.sockets(in: "").isEmpty)
        #expect(RunningAgent.socket("socket:[4711]") == 4711)
        for target in ["socket:[]", "pipe:[4711]", "/dev/null", "socket:[4711", ""] {
            #expect(RunningAgent.socket(target) == nil)
        }
    }

    @Test(
        "tells an agent's sockets from those of others",
        arguments: [
            // The sockets' interfaces, which of them are of which agent, and what comes out.
            ([], [], .ok, "none at the edges"), ([], [[]], .ok, "none at the edges"),
            ([7, 8], [[1, 2]], .ok, "the 2 packet sockets of the agent that runs here"),
            ([7, 8, 7], [[1, 2]], .note, "1 packet socket of others at the edges, beside"),
            ([7, 8, 7, 8], [[1, 2]], .warning, "2 packet sockets of others, at every edge, b"),
            ([7, 8, 0], [[1, 2]], .warning, "1 packet socket of others, at every edge, beside"),
            // One at no edge.
            ([9], [], .ok, "none at the edges"),
            // One that captures nothing itself.
            ([7], [[99]], .note, "1 packet socket of others at the edges, beside"),
            ([7], [], .note, "1 packet socket of others at the edges"),
            ([7, 8], [], .warning, "2 packet sockets of others, at every edge"),
            ([7, 8, 7, 8], [[1, 2], [3, 4]], .warning, "2 agents run here: processes 1, 2"),
            ([], [[], []], .warning, "2 agents run here"),
            ([7, 8], [nil], .note, "2 packet sockets at the edges, and an agent runs here;"),
            ([], [nil], .ok, "none at the edges"),
        ] as [([UInt32], [Set<UInt64>?], Finding.Grade, String)])
    func captures(
        interfaces: [UInt32], agents: [Set<UInt64>?], grade: Finding.Grade, text: String
    ) throws {
        var table = EdgeTable()
        for index in 7...8 as ClosedRange<UInt32> { table.apply(.link(Self.veth(index))) }
        var node = try Self.with(table)
        node.packetSockets = zip(UInt64(1)..., interfaces).map {
            PacketSocket(inode: $0, interface: $1)
        }
        node.agents = zip(Int32(1)..., agents).map { RunningAgent(process: $0, sockets: $1) }
        let finding = try #require(Self.findings("other-captures", node).first)
        #expect(finding.grade == grade && finding.found.contains(text), "\(finding)")
        guard agents.isEmpty, interfaces.contains(7) else { return }
        node.httpPorts = [.heldByAgent]
        let unseen = try #require(Self.findings("other-captures", node).first)
        #expect(unseen.grade == .note && unseen.found.contains("their owner is not known"))
    }
}
