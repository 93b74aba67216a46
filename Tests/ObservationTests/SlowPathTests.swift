import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Decisions that need more than the packet: calls to services.
///
/// The node is the site's, and its pod a calls services. `FragmentTests` have fragmented datagrams.
@Suite("The slow path")
struct SlowPathTests {
    /// A call of pod a to a service, with the backend that answers it.
    struct Call: Sendable, CustomTestStringConvertible {
        let name: String
        var clientPort: UInt16 = 40_000
        var backend = Site.c4
        var backendPort: UInt16 = 8080
        var masqueradedBy: IPAddress?
        let request: Decision
        let reply: Decision

        var testDescription: String { name }

        var original: FlowKey { key(Site.a4, clientPort, Site.service4, 80) }
        var flow: TrackedFlow {
            TrackedFlow(
                original: original,
                reply: key(backend, backendPort, masqueradedBy ?? Site.a4, clientPort))
        }
    }

    static let calls: [Call] = [
        Call(
            name: "client port above the backend's", request: .refuse(.serviceForm),
            reply: .refuse(.serviceForm)),
        Call(
            name: "client port below the backend's", clientPort: 80, request: .report(.podForm),
            reply: .report(.podForm)),
        Call(
            name: "equal ports, lower address here", clientPort: 8080, request: .report(.podForm),
            reply: .report(.podForm)),
        Call(
            name: "no pod behind it", backend: Site.node4, request: .report(.serviceWithoutPod),
            reply: .report(.serviceWithoutPod)),
        Call(
            name: "masqueraded", backend: Site.a4, masqueradedBy: Site.gateway4,
            request: .refuse(.masqueraded), reply: .refuse(.masqueraded)),
        Call(
            name: "to itself, not masqueraded", backend: Site.a4, request: .report(.podForm),
            reply: .refuse(.serviceForm)),
        Call(
            name: "not translated", backend: Site.service4, backendPort: 80,
            request: .report(.serviceWithoutPod), reply: .report(.serviceWithoutPod)),
    ]

    @Test("decides about a call that an event has reported", arguments: calls)
    func call(_ call: Call) {
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(call.flow, now: Site.begin)
        let request = slowPath.outcome(on: packet(call.original), direction: .fromPod)
        let reply = slowPath.outcome(on: packet(call.original.reversed), direction: .toPod)
        #expect(request?.decision == call.request)
        #expect(reply?.decision == call.reply)
        let translation = Translation(call.flow)
        for outcome in [request, reply] {
            #expect(
                (outcome?.translation == translation) == (outcome?.decision == .report(.podForm)))
        }
    }

    @Test("follows the flow that an ICMP error quotes, in either form")
    func error() {
        var slowPath = SlowPath(Site.rule)
        let call = Call(
            name: "", clientPort: 80, request: .report(.podForm), reply: .report(.podForm))
        slowPath.learn(call.flow, now: Site.begin)
        let quoted = Frame.ip(
            from: Site.a4, to: Site.service4, protocol: 17, Frame.ports(80, 80, more: 4))
        var flow = call.flow
        flow = TrackedFlow(original: flow.original.over(17), reply: flow.reply.over(17))
        slowPath.learn(flow, now: Site.begin)
        let frame = Frame.ethernet(
            to: Site.aMAC, from: Site.bridgeMAC, type: EtherType.ipv4,
            Frame.ip(
                from: Site.service4, to: Site.a4, protocol: 1, [3, 3, 0, 0, 0, 0, 0, 0] + quoted))
        let outcome = slowPath.outcome(on: frame, direction: .toPod)
        #expect(outcome?.decision == .report(.podForm))
        #expect(outcome?.translation?.newAddress == Site.c4)
    }

    @Test("looks a flow up that no event has reported, at most once a second")
    func question() {
        var slowPath = SlowPath(Site.rule)
        let flow = key(Site.a4, 40_000, Site.service4, 80)
        let frame = packet(flow)
        #expect(slowPath.step(frame, now: Site.begin) == .lookUp(flow))
        slowPath.learn(.notFound, about: flow, now: Site.begin)
        let unexplained = SlowPath.Step.decided(.init(decision: .report(.unexplainedService)))
        #expect(slowPath.step(frame, now: Site.begin + .nanoseconds(1)) == unexplained)
        #expect(slowPath.step(frame, now: .zero + .milliseconds(500)) == unexplained)
        // It is looked up again, however many packets it has.
        for tenth in 1...9 {
            #expect(slowPath.step(frame, now: .zero + .milliseconds(100 * tenth)) == unexplained)
        }
        #expect(slowPath.step(frame, now: Site.begin + .seconds(1)) == .lookUp(flow))
        slowPath.learn(.notAsked, about: flow, now: Site.begin + .seconds(1))
        #expect(
            slowPath.step(frame, now: Site.begin + .seconds(1) + .nanoseconds(1)) == unexplained)
        #expect(slowPath.step(frame, now: .zero + .milliseconds(1500)) == .lookUp(flow))
        slowPath.learn(
            .tracked(TrackedFlow(original: flow, reply: key(Site.c4, 8080, Site.a4, 40_000))),
            about: flow, now: .zero + .seconds(3))
        #expect(
            slowPath.step(frame, now: .zero + .seconds(3))
                == .decided(.init(decision: .refuse(.serviceForm))))
        // The reply needs the same flow.
        var other = SlowPath(Site.rule)
        #expect(
            other.step(packet(flow.reversed), direction: .toPod, now: Site.begin) == .lookUp(flow))
    }

    @Test("looks a flow up again if it was learned before events were lost")
    func invalidate() {
        var slowPath = SlowPath(Site.rule)
        let call = Self.calls[1]
        slowPath.learn(call.flow, now: Site.begin)
        let lost = Site.begin + .nanoseconds(1)
        slowPath.invalidate(before: lost)
        let frame = packet(call.original)
        #expect(slowPath.step(frame, now: lost) == .lookUp(call.original))
        #expect(!slowPath.isCurrent(call.original, now: lost))
        // Nothing newer is known, so the old flow counts.
        slowPath.learn(.notFound, about: call.original, now: lost)
        let known = SlowPath.Step.decided(
            .init(decision: .report(.podForm), translation: Translation(call.flow)))
        #expect(slowPath.step(frame, now: lost) == known)
        let again = lost + .seconds(1)
        #expect(slowPath.step(frame, now: again) == .lookUp(call.original))
        slowPath.learn(.tracked(call.flow), about: call.original, now: again)
        #expect(slowPath.step(frame, now: again + .seconds(1) + .nanoseconds(2)) == known)
    }

    @Test("leaves calls of pods outside the pod networks to backends' edges on other nodes")
    func outsideNetworks() {
        for (backend, decision) in [
            (Site.c4, .refuse(.serviceForm)), (Site.b4, .report(.podForm)),
        ] as [(IPAddress, Decision)] {
            var slowPath = SlowPath(Site.rule)
            let call = key(Site.extra4, 80, Site.service4, 80)
            slowPath.learn(
                TrackedFlow(original: call, reply: key(backend, 8080, Site.extra4, 80)),
                now: Site.begin)
            #expect(slowPath.outcome(on: packet(call), direction: .fromPod)?.decision == decision)
        }
    }

    @Test("reports no service form if connection tracking cannot be asked")
    func unavailable() {
        var slowPath = SlowPath(Site.rule)
        let flow = key(Site.a4, 40_000, Site.service4, 80)
        slowPath.learn(.unavailable, about: flow, now: Site.begin)
        #expect(
            slowPath.step(packet(flow), now: Site.begin)
                == .decided(.init(decision: .refuse(.serviceForm))))
    }

    @Test("uses the highest backend port if it does not know the flow")
    func standIn() {
        var slowPath = SlowPath(Site.rule)
        for (port, backendPort) in [(50_001, 8080), (50_002, 9090)] as [(UInt16, UInt16)] {
            slowPath.learn(
                TrackedFlow(
                    original: key(Site.b4, port, Site.service4, 80),
                    reply: key(Site.c4, backendPort, Site.b4, port)), now: Site.begin)
        }
        let dropList = slowPath.services.dropList(now: Site.begin)
        #expect(dropList.values.sorted() == [9090])
        #expect(!slowPath.services.contradicts(dropList, now: Site.begin))
        #expect(slowPath.services.contradicts(dropList.mapValues { $0 - 1 }, now: Site.begin))
        #expect(slowPath.services.changeCount == 2)
        for (port, decision) in [
            (9091, .refuse(.unexplainedService)), (9090, .report(.unexplainedService)),
            (80, .report(.unexplainedService)),
        ] as [(UInt16, Decision)] {
            let flow = key(Site.a4, port, Site.service4, 80)
            slowPath.learn(.notFound, about: flow, now: Site.begin)
            #expect(
                slowPath.step(packet(flow), now: Site.begin) == .decided(.init(decision: decision)))
        }
        // With one backend that is no pod, the service's packets are not dropped any more.
        slowPath.learn(
            TrackedFlow(
                original: key(Site.b4, 50_003, Site.service4, 80),
                reply: key(Site.node4, 8080, Site.b4, 50_003)), now: Site.begin)
        #expect(slowPath.services.dropList(now: Site.begin).isEmpty)
        #expect(slowPath.services.contradicts(dropList, now: Site.begin))
        #expect(slowPath.services.changeCount == 3)
    }

    @Test("forgets services after a minute or two")
    func age() {
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(Self.calls[0].flow, now: Site.begin)
        #expect(slowPath.services.dropList(now: .zero + .seconds(30)).count == 1)
        #expect(slowPath.services.dropList(now: .zero + .seconds(121)).isEmpty)
    }

    @Test("takes packets in the wrong direction for forged", arguments: Direction.allCases)
    func wrongWay(direction: Direction) {
        var slowPath = SlowPath(Site.rule)
        let flow = key(Site.a4, 40_000, Site.service4, 80)
        var frame = packet(direction == .toPod ? flow : flow.reversed)
        frame.replaceSubrange(0..<6, with: packet(flow.reversed)[0..<6])
        #expect(
            slowPath.step(frame, direction: direction, now: Site.begin)
                == .decided(.init(decision: .report(.unexplainedService))))
    }

    @Test("keeps its tables within their bounds")
    func bounds() {
        var slowPath = SlowPath(Site.rule)
        for number in 0..<UInt32(200_000) {
            let client = IPAddress(ipv4: 0x0af4_0100 + number >> 16)
            let port = UInt16(truncatingIfNeeded: number)
            let service = IPAddress(ipv4: 0x0a60_0000 + number % 1000)
            let call = FlowKey(
                transport: 6, source: client, destination: service, sourcePort: port,
                destinationPort: 80)
            slowPath.learn(
                TrackedFlow(original: call, reply: key(Site.c4, 8080, client, port)),
                now: Site.begin)
            slowPath.learn(.notFound, about: call.over(17), now: Site.begin)
        }
        #expect(slowPath.flowCount <= SlowPath.flowCountMax)
        #expect(slowPath.evictedFlowCount > 100_000)
        #expect(slowPath.services.dropList(now: Site.begin).count <= 256)
    }
}

/// A TCP flow between addresses and ports of IPv4.
private func key(
    _ source: IPAddress, _ sourcePort: UInt16, _ destination: IPAddress, _ destinationPort: UInt16
) -> FlowKey {
    FlowKey(
        transport: 6, source: source, destination: destination, sourcePort: sourcePort,
        destinationPort: destinationPort)
}

extension FlowKey {
    fileprivate func over(_ transport: UInt8) -> Self {
        Self(
            transport: transport, source: source, destination: destination, sourcePort: sourcePort,
            destinationPort: destinationPort)
    }
}

private func packet(_ flow: FlowKey) -> [UInt8] {
    let isToPod = flow.destination == Site.a4
    return Frame.ethernet(
        to: isToPod ? Site.aMAC : Site.bridgeMAC, from: isToPod ? Site.bridgeMAC : Site.aMAC,
        type: Frame.type(of: flow.source),
        Frame.ip(
            from: flow.source, to: flow.destination, protocol: flow.transport,
            Frame.ports(flow.sourcePort, flow.destinationPort)))
}

extension SlowPath {
    fileprivate mutating func step(
        _ frame: [UInt8], direction: Direction = .fromPod, mayHold: Bool = false,
        now: MonotonicTime
    ) -> Step {
        decide(frame.wire, direction: direction, at: Site.atA, now: now, mayHold: mayHold)
    }

    fileprivate mutating func outcome(on frame: [UInt8], direction: Direction) -> Outcome? {
        guard case .decided(let outcome) = step(frame, direction: direction, now: Site.begin) else {
            return nil
        }
        return outcome
    }
}
