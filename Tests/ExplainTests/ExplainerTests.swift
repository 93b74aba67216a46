import Addressing
import Edges
import Explain
import Filter
import Netlink
import Observation
import Packets
import Settings
import Testing
import Time

/// A node with the pods 10.244.1.2 at `va` and 10.244.1.3 at `vb`, on one bridge.
enum TestNode {
    static let settings = RuleSettings(
        podNetworks: networks("10.244.0.0/16"), serviceNetworks: networks("10.96.0.0/12"),
        uncovered: networks("10.244.9.0/24"))

    private static func networks(_ text: String) -> [IPNetwork] {
        [IPNetwork(text)].compactMap(\.self)
    }

    static func address(_ text: String) -> IPAddress { IPAddress(text) ?? IPAddress(ipv4: 0) }

    static func mac(_ number: UInt64) -> MACAddress { MACAddress(value: 0x0200_0000_0000 + number) }

    /// `hasTunnel` puts a tunnel to other nodes into the bridge.
    ///
    /// The pod at `va` has 10.77.0.1 on its loopback, and is the gateway to 10.8.0.0/24.
    /// `hasGuest` adds a pod at `vc` whose interface has no address.
    static func explainer(
        flows: [TrackedFlow] = [], hasTunnel: Bool = false, hasGuest: Bool = false,
        names: [String: PodName] = [:]
    ) -> Explainer {
        var table = EdgeTable()
        var bridge = Link(index: 3)
        (bridge.name, bridge.kind, bridge.mac) = ("cni0", "bridge", mac(1))
        table.apply(.link(bridge))
        table.reset(
            addresses: [
                InterfaceAddress(
                    interfaceIndex: 3, address: address("10.244.1.1"), prefixBitCount: 24),
                InterfaceAddress(
                    interfaceIndex: 2, address: address("10.244.3.1"), prefixBitCount: 32),
                InterfaceAddress(
                    interfaceIndex: 4, address: address("192.168.100.1"), prefixBitCount: 24),
            ],
            routes: networks("10.244.1.0/24").map {
                Route(destination: $0, gateway: nil, interfaceIndex: 3)
            }
                + networks("10.8.0.0/24").map {
                    Route(destination: $0, gateway: address("10.244.1.2"), interfaceIndex: 3)
                }
                + networks("10.244.2.0/24").map {
                    Route(destination: $0, gateway: address("10.244.2.0"), interfaceIndex: 2)
                })
        for (index, name) in [(7, "va"), (8, "vb")] as [(UInt32, String)] {
            var link = Link(index: index)
            (link.name, link.kind, link.isUp) = (name, "veth", true)
            (link.peerIndex, link.peerNamespace, link.master) = (2, Int32(index), 3)
            table.apply(.link(link))
            let pod = EdgeTable.Pod(
                addresses: [address("10.244.1.\(index - 5)")], mac: mac(UInt64(index)),
                otherAddresses: index == 7 ? [address("10.77.0.1")] : [])
            table.set(pod, behind: index)
        }
        if hasGuest {
            var link = Link(index: 10)
            (link.name, link.kind, link.isUp) = ("vc", "veth", true)
            (link.peerIndex, link.peerNamespace, link.master) = (2, 10, 3)
            table.apply(.link(link))
            table.set(EdgeTable.Pod(addresses: [address("fe80::1")], mac: mac(10)), behind: 10)
        }
        if hasTunnel {
            var tunnel = Link(index: 9)
            (tunnel.name, tunnel.kind, tunnel.master) = ("vxlan0", "vxlan", 3)
            table.apply(.link(tunnel))
        }
        let selection = EdgeSelection(podNetworks: settings.podNetworks)
        let named = table.node(selection).veths.compactMap { veth in
            names[veth.link.name].map { (veth.incarnation, $0) }
        }
        table.set(Dictionary(uniqueKeysWithValues: named))
        let node = table.node(selection)
        return Explainer(
            node, settings, sensors: [address("192.0.2.100")], flows: FlowLookup(flows))
    }

    /// A call from one pod to a service that another one answers.
    static let call = TrackedFlow(
        original: FlowKey(
            transport: 6, source: address("10.244.1.2"), destination: address("10.96.0.10"),
            sourcePort: 40000, destinationPort: 80),
        reply: FlowKey(
            transport: 6, source: address("10.244.1.3"), destination: address("10.244.1.2"),
            sourcePort: 8080, destinationPort: 40000))
}

@Suite("An explainer")
struct ExplainerTests {
    private func packet(_ text: String) throws -> DescribedPacket {
        try DescribedPacket(words: text.split(separator: " ").map(String.init))
    }

    private func views(_ text: String, flows: [TrackedFlow] = []) throws -> [Explainer.View] {
        var explainer = TestNode.explainer(flows: flows)
        return explainer.explain(try packet(text), now: MonotonicTime(nanoseconds: 1 << 40))
    }

    @Test(
        "knows the role of an address",
        arguments: [
            ("10.244.1.2", "pod at va"), ("10.244.2.3", "pod of another node, if there is one"),
            ("10.96.0.10", "service"), ("224.0.0.1", "group"), ("10.244.9.1", "not covered"),
            ("198.51.100.1", "not a pod"), ("192.0.2.100", "a sensor"),
        ])
    func roles(address: String, role: String) {
        let explainer = TestNode.explainer()
        let found = explainer.role(of: TestNode.address(address))
        #expect(found.contains(role), "\(found)")
    }

    @Test("names a pod wherever it speaks of it, if its name is known")
    func namesOfPods() throws {
        let name = try #require(PodName(namespace: "shop", name: "web-1"))
        var explainer = TestNode.explainer(names: ["va": name])
        let sender = TestNode.address("203.0.113.7")
        explainer.senders = [sender: "va"]
        for (address, role) in [
            (TestNode.address("10.244.1.2"), "pod shop/web-1 at va"),
            (
                TestNode.address("10.8.0.9"),
                "behind the pod shop/web-1 at va, outside the pod networks"
            ),
            (TestNode.address("10.244.1.3"), "pod at vb"),
            (sender, "not a pod, but the pod shop/web-1 at va sends from it"),
        ] {
            #expect(explainer.role(of: address) == role)
        }
    }

    @Test("knows an address that only a pod of this node could have, and none has")
    func nobody() throws {
        let address = TestNode.address("10.244.1.77")
        #expect(TestNode.explainer().role(of: address).hasPrefix("no pod"))
        let open = TestNode.explainer(hasTunnel: true).role(of: address)
        #expect(open == "pod of another node, if there is one")
        #expect(
            try views("udp 10.244.1.2:40000 10.244.1.77:53").map(\.edge) == [
                "va", "of 10.244.1.77, which no pod has",
            ])
    }

    @Test(
        "knows whether only an edge that is not on this node reports a packet",
        arguments: [
            ("udp 10.244.1.2:40000 10.244.2.3:53", true),
            ("udp 10.244.1.2:40000 10.244.1.77:53", true),
            ("udp 10.244.1.2:53 10.244.2.3:40000", false),
            ("udp 10.244.1.2:40000 10.244.1.3:53", false),
            ("udp 10.244.2.3:53 10.244.1.2:40000", false),
        ])
    func elsewhereAlone(text: String, isElsewhere: Bool) throws {
        #expect(try views(text).contains(where: \.isReportedElsewhere) == isElsewhere)
    }

    @Test("shows a packet between two pods at both edges, and that one of them reports it")
    func pods() throws {
        let views = try views("tcp 10.244.1.2:40000 10.244.1.3:80")
        #expect(views.map(\.edge) == ["va", "vb"])
        #expect(views.map(\.direction) == [.fromPod, .toPod])
        #expect(views.map(\.decision.isReported) == [false, true])
        #expect(views.allSatisfy { $0.isDecidedByKernel })
        #expect(
            views.map(\.observedEnd) == [
                TestNode.address("10.244.1.3"), TestNode.address("10.244.1.3"),
            ])
    }

    @Test(
        "knows what a filter says of a packet whose addresses and ports alone are known",
        arguments: [
            ("dst port 80", true), ("not port 80", false), ("host 10.244.1.2", true),
            ("tcp", true), ("udp", false), ("ip6", false), ("len >= 0", true),
            ("greater 1000", nil), ("ether src 02:00:00:00:00:01", nil),
            ("tcp[tcpflags] & tcp-syn != 0", nil), ("port 80 and less 100", nil),
            ("port 81 and less 100", false), ("ether broadcast", nil),
            ("tcp[20:4] = 0x47455420", nil), ("tcp[33] = 7", nil), ("tcp[40:2] = 0xbeef", nil),
        ] as [(String, Bool?)])
    func filter(text: String, verdict: Bool?) throws {
        let view = try #require(
            try views("tcp 10.244.1.2:40000 10.244.1.3:80").first(where: \.decision.isReported))
        #expect(view.passes(try FilterExpression(text).program) == verdict)
    }

    @Test("shows the edge of another node, and none for what is no pod")
    func elsewhere() throws {
        let remote = try views("tcp 10.244.1.2:40000 10.244.2.3:80")
        #expect(remote.map(\.edge) == ["va", "of 10.244.2.3, on its node"])
        #expect(remote.count { $0.decision.isReported } == 1)
        let outside = try views("tcp 10.244.1.2:40000 198.51.100.1:443")
        #expect(outside.map(\.edge) == ["va"] && outside[0].decision.step == .oneEndIsNoPod)
        #expect(try views("tcp 198.51.100.1:1 198.51.100.2:2").isEmpty)
    }

    @Test(
        "says that some edge reports a packet, whichever pods it goes between, and a SYN as well",
        arguments: [
            "10.244.1.2", "10.244.1.3", "10.244.2.3", "10.77.0.1", "10.8.0.5", "198.51.100.1",
        ])
    func someEdge(source: String) throws {
        for destination in ["10.244.1.2", "10.244.2.3", "10.77.0.1", "10.8.0.5", "10.244.2.9"]
        where destination != source {
            for (one, other) in [(53, 40000), (40000, 53)] {
                let ends = "\(source):\(one) \(destination):\(other)"
                let views = try views("udp \(ends)")
                #expect(views.count { $0.decision.isReported } == 1, "\(ends): \(views)")
                var explainer = TestNode.explainer()
                let outlook = explainer.outlook(
                    of: try packet("tcp \(ends)"), now: MonotonicTime(nanoseconds: 1 << 40))
                #expect(outlook?.unanswered != nil, "\(ends)")
            }
        }
    }

    @Test("decides at another node's edge by what that node knows")
    func knownElsewhere() throws {
        // A network behind this node's pod is nobody's on other nodes.
        let behind = try views("tcp 10.8.0.5:40000 10.244.2.3:80")
        #expect(behind.map(\.edge) == ["va", "of 10.244.2.3, on its node"])
        #expect(
            behind.map(\.decision) == [
                .refuse(.oneEndIsNoPodElsewhere), .report(.oneEndIsNoPod),
            ])
        // The bridge's address counts as a pod's there, unless a route has it as its gateway.
        let bridge = try views("tcp 10.244.2.3:40000 10.244.1.1:80")
        #expect(bridge.map(\.decision) == [.refuse(.observedEnd)])
        let gateway = try views("tcp 10.244.2.3:40000 10.244.3.1:80")
        #expect(gateway.map(\.decision) == [.report(.oneEndIsNoPod)])
    }

    @Test("shows a group packet at every edge, and that one of them reports it")
    func group() throws {
        let views = try views("udp 10.244.1.2:5353 224.0.0.251:5353")
        #expect(views.map(\.edge) == ["va", "vb"])
        #expect(views.count { $0.decision.isReported } == 1)
    }

    @Test("shows a group packet of an unknown sender once")
    func groupOfUnknown() throws {
        for text in ["udp 0.0.0.0:68 255.255.255.255:67", "udp [fe80::9]:546 [ff02::1:2]:547"] {
            let views = try views(text)
            #expect(views.map(\.edge) == ["one of 2 edges"])
            #expect(views.map(\.decision) == [.report(.groupFromElsewhere)])
        }
    }

    @Test("takes a broadcast address for no pod's")
    func broadcast() throws {
        #expect(
            TestNode.explainer().role(of: TestNode.address("10.244.1.255"))
                == "broadcast address of 10.244.1.0/24")
        let views = try views("icmp 10.244.1.2 10.244.1.255")
        #expect(views.map(\.edge) == ["va", "vb"])
        #expect(views.map(\.decision) == [.report(.groupIngress), .refuse(.groupFromPod)])
        #expect(TestNode.explainer().role(of: TestNode.address("10.244.3.255")).hasPrefix("pod of"))
    }

    @Test("shows a packet at the edge whose pod sends from an address that is nobody's")
    func senders() throws {
        let packet = try packet("udp 198.51.100.7:40000 10.244.2.3:53")
        var explainer = TestNode.explainer()
        let now = MonotonicTime(nanoseconds: 1 << 40)
        let unseen = explainer.explain(packet, now: now)
        #expect(unseen.map(\.edge) == ["of 10.244.2.3, on its node"])
        explainer.senders = [packet.source.address: "va"]
        let views = explainer.explain(packet, now: now)
        #expect(views.map(\.edge) == ["va", "of 10.244.2.3, on its node"])
        #expect(views.map(\.decision.isReported) == [true, true])
        let isSentFrom = explainer.isSentFrom(packet.source.address)
        #expect(isSentFrom)
        let role = explainer.role(of: packet.source.address)
        #expect(role.contains("the pod at va sends from it"))
        // On the same bridge its MAC address shows that a pod has sent it.
        let here = try self.packet("udp 198.51.100.7:40000 10.244.1.3:53")
        let both = explainer.explain(here, now: now)
        #expect(both.map(\.decision) == [.report(.oneEndIsNoPod), .refuse(.noPodFromPod)])
    }

    @Test("tells what may be a node's, and what a pod may send from unseen")
    func outside() {
        var explainer = TestNode.explainer()
        let isUnknown = explainer.mayBeSentFrom(TestNode.address("10.9.0.5"))
        #expect(isUnknown)
        for address in ["10.8.0.5", "10.244.2.3", "10.96.0.10", "198.51.100.1", "10.244.1.1"] {
            let mayBe = explainer.mayBeSentFrom(TestNode.address(address))
            #expect(!mayBe, "\(address)")
        }
        explainer.senders = [:]
        let mayBeSentFrom = explainer.mayBeSentFrom(TestNode.address("10.9.0.5"))
        let mayBeNode = explainer.mayBeNode(TestNode.address("192.168.100.2"))
        #expect(!mayBeSentFrom && mayBeNode)
        for address in ["192.168.100.1", "192.168.101.2", "10.244.1.77", "10.96.0.10"] {
            let mayBe = explainer.mayBeNode(TestNode.address(address))
            #expect(!mayBe, "\(address)")
        }
    }

    @Test("shows a call that this node translates as it is at the other node's client")
    func callOfAnotherNode() throws {
        let flow = TrackedFlow(
            original: FlowKey(
                transport: 6, source: TestNode.address("10.244.2.3"),
                destination: TestNode.address("192.168.100.1"), sourcePort: 40000,
                destinationPort: 30082),
            reply: FlowKey(
                transport: 6, source: TestNode.address("10.244.1.3"),
                destination: TestNode.address("10.244.2.3"), sourcePort: 8080,
                destinationPort: 40000))
        let views = try views("tcp 10.244.2.3:40000 192.168.100.1:30082", flows: [flow])
        #expect(views.map(\.edge) == ["of 10.244.2.3, on its node", "vb"])
        #expect(views.map(\.decision) == [.report(.oneEndIsNoPod), .report(.observedEnd)])
        #expect(views.first?.translation == nil)
    }

    @Test("names the edge behind which a guest may be")
    func guest() throws {
        let explainer = TestNode.explainer(hasGuest: true)
        let role = explainer.role(of: TestNode.address("10.244.1.77"))
        #expect(role.hasSuffix("unless it is that of a guest behind vc"))
        var other = TestNode.explainer(hasGuest: true)
        let views = other.explain(
            try packet("udp 10.244.1.2:40000 10.244.1.77:53"),
            now: MonotonicTime(nanoseconds: 1 << 40))
        #expect(views.map(\.edge) == ["va", "of 10.244.1.77, if it is behind vc"])
    }

    @Test("shows a call to a service in the form of each end")
    func service() throws {
        let views = try views("tcp 10.244.1.2:40000 10.96.0.10:80", flows: [TestNode.call])
        #expect(views.map(\.edge) == ["va", "vb"])
        #expect(views[1].form.description == "tcp 10.244.1.2:40000 to 10.244.1.3:8080")
        #expect(views.count { $0.decision.isReported } == 1)
        // The reply, as the backend sends it.
        let replies = try self.views("tcp 10.244.1.3:8080 10.244.1.2:40000", flows: [TestNode.call])
        #expect(replies.map(\.edge) == ["vb", "va"])
        #expect(replies[1].form.description == "tcp 10.96.0.10:80 to 10.244.1.2:40000")
        let unknown = try self.views("tcp 10.244.1.2:40000 10.96.0.10:80")
        #expect(unknown.map(\.decision.step) == [.unexplainedService])
    }

    @Test("sends who asks for another node's call to a service to that node")
    func serviceElsewhere() throws {
        let calls = try views("tcp 10.244.2.3:40000 10.96.0.10:80")
        #expect(calls.map(\.edge) == ["of 10.244.2.3, on its node"])
        #expect(calls.map(\.isHere) == [false] && calls[0].direction == .fromPod)
        #expect(calls.map(\.decision.step) == [.unexplainedService])
        let replies = try views("tcp 10.96.0.10:80 10.244.2.3:40000")
        #expect(replies.map(\.edge) == ["of 10.244.2.3, on its node"])
        #expect(replies.map(\.decision.step) == [.unexplainedService])
    }

    @Test("finds edges by their names")
    func names() {
        let explainer = TestNode.explainer()
        #expect(explainer.edge(named: "vb")?.point.interfaceIndex == 8)
        #expect(explainer.edge(named: "vc") == nil)
        #expect(explainer.addressFailure == nil)
    }
}

@Suite("An explanation of a file")
struct FileExplanationTests {
    /// A UDP datagram between two addresses, from one MAC address to another.
    private func frame(
        from source: (ip: String, mac: UInt64), to destination: (ip: String, mac: UInt64),
        ports: (UInt8, UInt8) = (200, 53)
    ) -> [UInt8] {
        let header: [UInt8] = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]
        return TestNode.mac(destination.mac).bytes + TestNode.mac(source.mac).bytes + [8, 0]
            + header + TestNode.address(source.ip).bytes + TestNode.address(destination.ip).bytes
            + [0, ports.0, 0, ports.1, 0, 8, 0, 0]
    }

    @Test("counts frames by what decides about them")
    func counts() {
        var explanation = FileExplanation(TestNode.explainer(), at: nil)
        let frames = [
            // To the outside and back, then between the pods, and between strangers.
            frame(from: ("10.244.1.2", 7), to: ("198.51.100.1", 1)),
            frame(from: ("198.51.100.1", 1), to: ("10.244.1.2", 7)),
            frame(from: ("10.244.1.2", 7), to: ("10.244.1.3", 8)),
            frame(from: ("198.51.100.1", 1), to: ("198.51.100.2", 2)),
            [1, 2, 3],
        ]
        for frame in frames { explanation.add(frame, nanoseconds: 1 << 40) }
        #expect(explanation.frameCount == 5 && explanation.strangerCount == 2)
        #expect(explanation.ambiguousCount == 1 && explanation.puntedCount == 0)
        let reported = explanation.counts.filter { $0.key.isReported }
        #expect(reported.map(\.key.step) == [.oneEndIsNoPod] && reported.values.first == 2)
        #expect(explanation.counts.values.reduce(0, +) == 3)
    }

    @Test("takes all frames as recorded at an edge that is given")
    func edge() {
        let explainer = TestNode.explainer()
        let edge = explainer.edge(named: "vb")
        var explanation = FileExplanation(explainer, at: edge)
        explanation.add(
            frame(from: ("10.244.1.2", 7), to: ("10.244.1.3", 8)), nanoseconds: 1 << 40)
        explanation.add(
            frame(from: ("10.244.1.3", 8), to: ("198.51.100.1", 1)), nanoseconds: 1 << 40)
        #expect(explanation.ambiguousCount == 0 && explanation.strangerCount == 0)
        #expect(explanation.counts.filter { $0.key.isReported }.values.reduce(0, +) == 2)
    }

    @Test("infers the edge that all frames have in common, and no other")
    func inference() {
        let outside = ("198.51.100.1", UInt64(1))
        let (a, b, c) = (("10.244.1.2", UInt64(7)), ("10.244.1.3", UInt64(8)), ("", UInt64(10)))
        func inferred(_ frames: [[UInt8]]) -> String? {
            var inference = EdgeInference(TestNode.explainer(hasGuest: true).edges)
            for frame in frames { inference.add(frame) }
            return inference.edge?.name
        }
        func frame(_ source: (String, UInt64), _ destination: (String, UInt64)) -> [UInt8] {
            self.frame(
                from: ("10.244.1.2", source.1), to: ("10.244.1.3", destination.1))
        }
        let flooded = TestNode.mac(0xff).bytes.map { _ in 0xff } + frame(b, c).dropFirst(6)
        #expect(inferred([]) == nil)
        #expect(inferred([frame(a, b), frame(b, a)]) == nil)
        #expect(inferred([frame(a, b), frame(b, a), frame(a, outside)]) == "va")
        #expect(inferred([frame(outside, b), frame(a, b)]) == "vb")
        #expect(inferred([frame(a, b), frame(c, a)]) == "va")
        #expect(inferred([frame(a, b), frame(c, a), frame(b, c)]) == nil)
        #expect(inferred([frame(a, outside), frame(b, outside), frame(a, outside)]) == nil)
        // What a bridge floods passes edges that it does not name; strangers and stubs say nothing.
        #expect(inferred([frame(a, b), frame(a, outside), flooded]) == "va")
        #expect(inferred([flooded, frame(a, b)]) == nil)
        #expect(inferred([frame(outside, outside), [1, 2, 3], frame(outside, a)]) == "va")
    }

    @Test("takes a frame to a group as one of the inferred edge, and none of strangers")
    func inferredEdge() {
        let explainer = TestNode.explainer()
        let edge = explainer.edge(named: "va")
        var explanation = FileExplanation(explainer, at: edge, isInferred: true)
        let stranger = frame(from: ("198.51.100.1", 1), to: ("198.51.100.2", 2))
        explanation.add(stranger, nanoseconds: 1 << 40)
        #expect(explanation.strangerCount == 1)
        explanation.add([255, 255, 255, 255, 255, 255] + stranger[6...], nanoseconds: 1 << 40)
        #expect(explanation.strangerCount == 1 && explanation.frameCount == 2)
    }

    @Test("counts what the kernel punts")
    func punted() {
        var explanation = FileExplanation(TestNode.explainer(), at: nil)
        explanation.add(
            frame(from: ("10.244.1.2", 7), to: ("10.96.0.10", 1)), nanoseconds: 1 << 40)
        #expect(explanation.puntedCount == 1)
    }
}
