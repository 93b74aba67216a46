import Addressing
import BPF
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Step 4 for what this node translates to pods beside services, without masquerading.
///
/// Pod a calls: the node's address, its gateway's, or one outside.
@Suite("Calls to fronts")
struct FrontTests {
    /// A call of pod a to a front, and what becomes of its packets at a's edge.
    struct Call: Sendable, CustomTestStringConvertible {
        let name: String
        var client = Site.a4
        var clientPort: UInt16 = 40_000
        var called = Site.node4
        var backend = Site.c4
        var backendPort: UInt16 = 8080
        var masqueradedBy: IPAddress?
        let request: Decision
        let reply: Decision

        var testDescription: String { name }
        var original: FlowKey { frontFlow(client, clientPort, called, 30_080) }
        var flow: TrackedFlow {
            TrackedFlow(
                original: original,
                reply: frontFlow(backend, backendPort, masqueradedBy ?? client, clientPort))
        }
    }

    static let calls: [Call] = [
        Call(
            name: "node port, backend on another node", request: .refuse(.serviceForm),
            reply: .refuse(.serviceForm)),
        Call(
            name: "node port, backend on this node", backend: Site.b4,
            request: .refuse(.serviceForm), reply: .refuse(.serviceForm)),
        Call(
            name: "client port below the backend's", clientPort: 80, request: .report(.podForm),
            reply: .report(.podForm)),
        Call(
            name: "external address", clientPort: 80, called: Site.outside4,
            request: .report(.podForm), reply: .report(.podForm)),
        Call(
            name: "host port at the gateway's address", called: Site.gateway4,
            request: .refuse(.serviceForm), reply: .refuse(.serviceForm)),
        Call(
            name: "over IPv6", client: Site.a6, clientPort: 80, called: Site.node6,
            backend: Site.c6, request: .report(.podForm), reply: .report(.podForm)),
        Call(
            name: "to itself, not masqueraded", backend: Site.a4, request: .report(.podForm),
            reply: .refuse(.serviceForm)),
        Call(
            name: "masqueraded", masqueradedBy: Site.gateway4, request: asItIs, reply: asItIs),
        Call(name: "not translated", backend: Site.node4, request: asItIs, reply: asItIs),
        Call(name: "no pod behind it", backend: Site.uncovered4, request: asItIs, reply: asItIs),
    ]
    static let asItIs = Decision.report(.oneEndIsNoPod)

    /// A call of pod b that makes a front known.
    private static func otherCall(to call: Call) -> TrackedFlow {
        let isIPv4 = call.client.family == .ipv4
        let client = isIPv4 ? Site.b4 : Site.b6
        return TrackedFlow(
            original: frontFlow(client, 50_000, call.called, 30_080),
            reply: frontFlow(isIPv4 ? Site.c4 : Site.c6, 8080, client, 50_000))
    }

    @Test(
        "are reported once, in pod form, if they are translated and not masqueraded",
        arguments: calls)
    func call(_ call: Call) {
        for isFrontKnown in [false, true] {
            var slowPath = SlowPath(Site.rule)
            if isFrontKnown { slowPath.learn(Self.otherCall(to: call), now: Site.begin) }
            slowPath.learn(call.flow, now: Site.begin)
            if isFrontKnown {
                slowPath.learn(.tracked(call.flow), about: call.original, now: Site.begin)
            }
            let translation = Translation(call.flow)
            for (flow, direction, decision) in [
                (call.original, Direction.fromPod, call.request),
                (call.original.reversed, .toPod, call.reply),
            ] {
                let outcome = slowPath.frontOutcome(of: frontPacket(flow), direction)
                #expect(outcome?.decision == decision, "\(direction), \(isFrontKnown)")
                #expect(
                    (outcome?.translation == translation) == (decision == .report(.podForm)))
            }
        }
    }

    @Test("have the requests of their pod form")
    func requests() {
        let call = Self.calls[0]
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(call.flow, now: Site.begin)
        let syn = slowPath.frontOutcome(
            of: frontPacket(call.original, flags: TCPHeader.syn), .fromPod)
        let podForm = RequestKey(call.flow.reply.reversed)
        #expect(syn?.requestPart == .request(podForm, at: .sender))
        #expect(syn?.translation == Translation(call.flow))
        let accept = slowPath.frontOutcome(
            of: frontPacket(call.original.reversed, flags: TCPHeader.syn | TCPHeader.ack), .toPod)
        guard case .answer(let answer) = accept?.requestPart else {
            Issue.record("no answer: \(String(describing: accept))")
            return
        }
        #expect(answer.key == podForm && answer.edge == .sender)
    }

    @Test("turn on their port: what else goes to the address is decided as before")
    func otherPorts() {
        let call = Self.calls[2]
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(call.flow, now: Site.begin)
        for other in [
            frontFlow(Site.a4, 80, Site.node4, 10_250),
            frontFlow(Site.a4, 80, Site.outside4, 30_080),
            frontFlow(Site.a4, 80, Site.node4, 30_080).with(transport: 17),
        ] {
            #expect(
                slowPath.frontStep(on: frontPacket(other), .fromPod)
                    == .decided(.init(decision: Self.asItIs)))
        }
        // What has no ports is looked up, and found not to be translated.
        let ping = FlowKey(
            transport: 1, source: Site.a4, destination: Site.node4, sourcePort: 7,
            destinationPort: 7)
        let echo = Frame.ethernet(
            to: Site.bridgeMAC, from: Site.aMAC, type: EtherType.ipv4,
            Frame.ip(from: Site.a4, to: Site.node4, protocol: 1, [8, 0, 0, 0, 0, 7, 0, 1]))
        #expect(slowPath.frontStep(on: echo, .fromPod) == .lookUp(ping))
        slowPath.learn(
            .tracked(TrackedFlow(original: ping, reply: ping.reversed)), about: ping,
            now: Site.begin)
        #expect(slowPath.frontOutcome(of: echo, .fromPod)?.decision == Self.asItIs)
        // The node's own port of that number calls the pod.
        let own = frontFlow(Site.node4, 30_080, Site.a4, 8080)
        #expect(slowPath.frontStep(on: frontPacket(own), .toPod) == .lookUp(own.reversed))
        slowPath.learn(
            .tracked(TrackedFlow(original: own, reply: own.reversed)), about: own.reversed,
            now: Site.begin)
        for (flow, direction) in [(own, Direction.toPod), (own.reversed, .fromPod)] {
            #expect(
                slowPath.frontOutcome(of: frontPacket(flow), direction)?.decision == Self.asItIs)
        }
    }

    @Test("are judged by the front's highest backend port if their flow is not known")
    func unknown() {
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(Self.otherCall(to: Self.calls[0]), now: Site.begin)
        for (port, decision) in [
            (8081, .refuse(.unexplainedService)), (8080, .report(.unexplainedService)),
        ] as [(UInt16, Decision)] {
            let call = frontFlow(Site.a4, port, Site.node4, 30_080)
            #expect(slowPath.frontStep(on: frontPacket(call), .fromPod) == .lookUp(call))
            slowPath.learn(.notFound, about: call, now: Site.begin)
            #expect(slowPath.frontOutcome(of: frontPacket(call), .fromPod)?.decision == decision)
        }
        // A call that no other edge sees makes that unsafe.
        slowPath.learn(
            TrackedFlow(
                original: frontFlow(Site.b4, 50_001, Site.node4, 30_080),
                reply: frontFlow(Site.node4, 30_080, Site.b4, 50_001)), now: Site.begin)
        let call = frontFlow(Site.a4, 8082, Site.node4, 30_080)
        slowPath.learn(.notFound, about: call, now: Site.begin)
        #expect(
            slowPath.frontOutcome(of: frontPacket(call), .fromPod)?.decision
                == .report(.unexplainedService))
    }

    @Test("are known by their flow where the bridge translates what it brings from another pod")
    func bridged() {
        let original = frontFlow(Site.a4, 80, Site.outside4, 30_080)
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(
            TrackedFlow(original: original, reply: frontFlow(Site.b4, 8080, Site.a4, 80)),
            now: Site.begin)
        for (port, decision) in [(80, .report(.podForm)), (81, .refuse(.noPodFromPod))]
            as [(UInt16, Decision)]
        {
            let frame = Frame.ethernet(
                to: Site.aMAC, from: Site.bMAC, type: EtherType.ipv4,
                Frame.ip(
                    from: Site.outside4, to: Site.a4, protocol: 6, Frame.ports(30_080, port)))
            #expect(
                slowPath.decision(on: frame.wire, direction: .toPod, at: Site.atA) == decision)
        }
    }

    @Test("have ICMP errors that follow them")
    func errors() {
        let call = Self.calls[2]
        let flow = TrackedFlow(
            original: call.original.with(transport: 17), reply: call.flow.reply.with(transport: 17))
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(flow, now: Site.begin)
        slowPath.learn(call.flow, now: Site.begin)
        func error(about flow: FlowKey, from source: IPAddress) -> [UInt8] {
            Frame.ethernet(
                to: Site.aMAC, from: Site.bridgeMAC, type: EtherType.ipv4,
                Frame.ip(
                    from: source, to: Site.a4, protocol: 1,
                    [3, 3, 0, 0, 0, 0, 0, 0]
                        + Frame.ip(
                            from: flow.source, to: flow.destination, protocol: flow.transport,
                            Frame.ports(flow.sourcePort, flow.destinationPort, more: 4))))
        }
        let closed = slowPath.frontOutcome(
            of: error(about: flow.original, from: Site.node4), .toPod)
        #expect(closed?.decision == .report(.podForm))
        // A router's error, and one about another port of the node.
        for frame in [
            error(about: flow.original, from: Site.outside4),
            error(
                about: frontFlow(Site.a4, 80, Site.node4, 53).with(transport: 17), from: Site.node4),
        ] {
            #expect(slowPath.frontOutcome(of: frame, .toPod)?.decision == Self.asItIs)
        }
    }

    @Test("have fragments that wait for their first one")
    func fragments() {
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(Self.calls[2].flow, now: Site.begin)
        for (destination, waits) in [(Site.node4, true), (Site.outside4, false)] {
            let frame = Frame.ethernet(
                to: Site.bridgeMAC, from: Site.aMAC, type: EtherType.ipv4,
                Frame.ip(
                    from: Site.a4, to: destination, protocol: 17, fragment: 0x0010,
                    [UInt8](repeating: 0, count: 32)))
            let step = slowPath.decide(
                frame.wire, direction: .fromPod, at: Site.atA, now: Site.begin, mayHold: true)
            if case .hold = step { #expect(waits) } else { #expect(!waits) }
        }
    }
}

/// The bounds of what is known.
extension FrontTests {
    @Test("are learned for as many fronts as programs have room for, and the rest is counted")
    func bound() {
        var slowPath = SlowPath(Site.rule)
        for number in 0..<UInt16(FrontTable.countMax + 10) {
            slowPath.learn(Self.call(to: number, port: 80), now: Site.begin)
        }
        #expect(slowPath.fronts.keys.count == FrontTable.countMax)
        #expect(slowPath.fronts.notLearnedCount == 10)
        let program = EdgeProgram(
            Site.rule, at: Site.atA, snaplen: 262_144, fronts: slowPath.fronts.keys)
        #expect(program.decides)
        #expect(program.program.instructions.count < 2000, "\(program.program.instructions.count)")
        // After an hour of silence a front gives its room away, the idlest one first.
        let later = Site.begin + .seconds(3600)
        slowPath.learn(Self.call(to: 0, port: 80), now: later)
        slowPath.learn(Self.call(to: 1000, port: 80), now: later)
        #expect(slowPath.fronts.keys.count == FrontTable.countMax)
        #expect(slowPath.fronts.notLearnedCount == 10)
        let addresses = Set(slowPath.fronts.keys.map(\.address))
        #expect(addresses.contains(Self.address(0)) && addresses.contains(Self.address(1000)))
    }

    @Test("are learned for a whole address if many of its ports are called")
    func wholeAddress() {
        var slowPath = SlowPath(Site.rule)
        for port in 1...200 as ClosedRange<UInt16> {
            slowPath.learn(Self.call(to: 0, port: port), now: Site.begin)
        }
        #expect(slowPath.fronts.keys.count == 1 && slowPath.fronts.notLearnedCount == 0)
        let program = EdgeProgram(
            Site.rule, at: Site.atA, snaplen: 262_144, fronts: slowPath.fronts.keys)
        var fastPath = FastPath(Site.rule)
        fastPath.set(fronts: slowPath.fronts.keys)
        for port in [1, 200, 300] as [UInt16] {
            let frame = frontPacket(frontFlow(Site.a4, 40_000, Self.address(0), port))
            #expect(program.verdict(on: frame, direction: .fromPod) == .punt)
            let isCleared = fastPath.clears(frame.wire)
            #expect(!isCleared)
        }
    }

    @Test(
        "are none: services, pods, masqueraded calls, and callers or backends that are no pods",
        arguments: [
            (Site.a4, Site.service4, Site.c4, Site.a4), (Site.a4, Site.b4, Site.c4, Site.a4),
            (Site.a4, Site.node4, Site.c4, Site.gateway4),
            (Site.outside4, Site.node4, Site.c4, Site.outside4),
            (Site.a4, Site.node4, Site.outside4, Site.a4),
            (Site.a4, Site.node4, Site.node4, Site.a4),
        ])
    func others(client: IPAddress, called: IPAddress, backend: IPAddress, caller: IPAddress) {
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(
            TrackedFlow(
                original: frontFlow(client, 40_000, called, 30_080),
                reply: frontFlow(backend, 8080, caller, 40_000)), now: Site.begin)
        #expect(slowPath.fronts.keys.isEmpty)
        #expect(slowPath.flowCount == (called == Site.service4 ? 1 : 0))
    }

    private static func address(_ number: UInt16) -> IPAddress {
        IPAddress(ipv4: 0xcb00_7200 + UInt32(number))
    }

    private static func call(to number: UInt16, port: UInt16) -> TrackedFlow {
        TrackedFlow(
            original: frontFlow(Site.b4, 50_000, address(number), port),
            reply: frontFlow(Site.c4, 8080, Site.b4, 50_000))
    }
}

/// A TCP flow.
func frontFlow(
    _ source: IPAddress, _ sourcePort: UInt16, _ destination: IPAddress, _ destinationPort: UInt16
) -> FlowKey {
    FlowKey(
        transport: 6, source: source, destination: destination, sourcePort: sourcePort,
        destinationPort: destinationPort)
}

extension FlowKey {
    func with(transport: UInt8) -> Self {
        Self(
            transport: transport, source: source, destination: destination, sourcePort: sourcePort,
            destinationPort: destinationPort)
    }
}

/// A packet as pod a's edge sees it.
func frontPacket(_ flow: FlowKey, flags: UInt8 = TCPHeader.ack) -> [UInt8] {
    let isToPod = [Site.a4, Site.a6].contains(flow.destination)
    var ports = Frame.ports(flow.sourcePort, flow.destinationPort)
    if flow.transport == IPProtocol.tcp { ports[TCPHeader.flags] = flags }
    return Frame.ethernet(
        to: isToPod ? Site.aMAC : Site.bridgeMAC, from: isToPod ? Site.bridgeMAC : Site.aMAC,
        type: Frame.type(of: flow.source),
        Frame.ip(from: flow.source, to: flow.destination, protocol: flow.transport, ports))
}

extension SlowPath {
    mutating func frontStep(on frame: [UInt8], _ direction: Direction) -> Step {
        decide(frame.wire, direction: direction, at: Site.atA, now: Site.begin)
    }

    mutating func frontOutcome(of frame: [UInt8], _ direction: Direction) -> Outcome? {
        guard case .decided(let outcome) = frontStep(on: frame, direction) else { return nil }
        return outcome
    }
}
