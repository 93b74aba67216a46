import Addressing
import Packets
import Observation
import ObservationFixtures
import Testing

/// What needs to know more than the packet: calls to services, and datagrams in pieces. The node is
/// the site's; its pod a calls services.
@Suite("The settler")
struct SettlerTests {
    private static let second: UInt64 = 1_000_000_000

    // MARK: calls to services

    /// A call of pod a from a port, to a service, and who answers.
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

    @Test("knows what becomes of a call that an event has told of", arguments: calls)
    func call(_ call: Call) {
        var settler = Settler(Site.rule)
        settler.learn(call.flow, now: 1)
        let request = settler.verdict(on: packet(call.original), isEgress: false)
        let reply = settler.verdict(on: packet(call.original.reversed), isEgress: true)
        #expect(request?.decision == call.request)
        #expect(reply?.decision == call.reply)
        let translation = Translation(call.flow)
        for verdict in [request, reply] {
            #expect(
                (verdict?.translation == translation) == (verdict?.decision == .report(.podForm)))
        }
    }

    @Test("follows the flow that an ICMP error quotes, in either form")
    func error() {
        var settler = Settler(Site.rule)
        let call = Call(
            name: "", clientPort: 80, request: .report(.podForm), reply: .report(.podForm))
        settler.learn(call.flow, now: 1)
        let quoted = Frame.ip(
            from: Site.a4, to: Site.service4, protocol: 17, Frame.ports(80, 80, more: 4))
        var flow = call.flow
        flow = TrackedFlow(original: flow.original.over(17), reply: flow.reply.over(17))
        settler.learn(flow, now: 1)
        let frame = Frame.ethernet(
            to: Site.aMAC, from: Site.bridgeMAC, type: EtherType.ipv4,
            Frame.ip(
                from: Site.service4, to: Site.a4, protocol: 1, [3, 3, 0, 0, 0, 0, 0, 0] + quoted))
        let verdict = settler.verdict(on: frame, isEgress: true)
        #expect(verdict?.decision == .report(.podForm))
        #expect(verdict?.translation?.newAddress == Site.c4)
    }

    @Test("asks about a flow that nobody has told of, at most once a second")
    func question() {
        var settler = Settler(Site.rule)
        let flow = key(Site.a4, 40_000, Site.service4, 80)
        let frame = packet(flow)
        #expect(settler.outcome(frame, now: 1) == .question(flow))
        settler.answer(.unknown, to: flow, now: 1)
        let unexplained = Settler.Outcome.verdict(.init(decision: .report(.unexplainedService)))
        #expect(settler.outcome(frame, now: 2) == unexplained)
        #expect(settler.outcome(frame, now: Self.second / 2) == unexplained)
        // However many packets it has, it is asked about again.
        for tenth in 1...9 as ClosedRange<UInt64> {
            #expect(settler.outcome(frame, now: tenth * Self.second / 10) == unexplained)
        }
        #expect(settler.outcome(frame, now: Self.second + 1) == .question(flow))
        settler.answer(.notAsked, to: flow, now: Self.second + 1)
        #expect(settler.outcome(frame, now: Self.second + 2) == unexplained)
        #expect(settler.outcome(frame, now: 3 * Self.second / 2) == .question(flow))
        settler.answer(
            .tracked(TrackedFlow(original: flow, reply: key(Site.c4, 8080, Site.a4, 40_000))),
            to: flow, now: 3 * Self.second)
        #expect(
            settler.outcome(frame, now: 3 * Self.second)
                == .verdict(.init(decision: .refuse(.serviceForm))))
        // The reply asks about the same flow.
        var other = Settler(Site.rule)
        #expect(other.outcome(packet(flow.reversed), isEgress: true, now: 1) == .question(flow))
    }

    @Test("asks anew about what it knows from before events were lost")
    func doubt() {
        var settler = Settler(Site.rule)
        let call = Self.calls[1]
        settler.learn(call.flow, now: 1)
        settler.doubt(now: 2)
        let frame = packet(call.original)
        #expect(settler.outcome(frame, now: 2) == .question(call.original))
        let knows = settler.knows(call.original, now: 2)
        #expect(!knows)
        // Nobody can say, so what is known counts.
        settler.answer(.unknown, to: call.original, now: 2)
        let known = Settler.Outcome.verdict(
            .init(decision: .report(.podForm), translation: Translation(call.flow)))
        #expect(settler.outcome(frame, now: 2) == known)
        let again = 2 + Self.second
        #expect(settler.outcome(frame, now: again) == .question(call.original))
        settler.answer(.tracked(call.flow), to: call.original, now: again)
        #expect(settler.outcome(frame, now: 2 * again) == known)
    }

    @Test("leaves calls of pods outside the pod networks to backends' edges elsewhere")
    func outsideNetworks() {
        for (backend, decision) in [
            (Site.c4, .refuse(.serviceForm)), (Site.b4, .report(.podForm)),
        ] as [(IPAddress, Decision)] {
            var settler = Settler(Site.rule)
            let call = key(Site.extra4, 80, Site.service4, 80)
            settler.learn(
                TrackedFlow(original: call, reply: key(backend, 8080, Site.extra4, 80)), now: 1)
            #expect(settler.verdict(on: packet(call), isEgress: false)?.decision == decision)
        }
    }

    @Test("reports no service form where connection tracking cannot be asked")
    func unavailable() {
        var settler = Settler(Site.rule)
        let flow = key(Site.a4, 40_000, Site.service4, 80)
        settler.answer(.unavailable, to: flow, now: 1)
        #expect(
            settler.outcome(packet(flow), now: 1)
                == .verdict(.init(decision: .refuse(.serviceForm))))
    }

    @Test("lets the highest backend port stand in for one that it does not know")
    func standIn() {
        var settler = Settler(Site.rule)
        for (port, backendPort) in [(50_001, 8080), (50_002, 9090)] as [(UInt16, UInt16)] {
            settler.learn(
                TrackedFlow(
                    original: key(Site.b4, port, Site.service4, 80),
                    reply: key(Site.c4, backendPort, Site.b4, port)), now: 1)
        }
        let dropList = settler.services.dropList(now: 1)
        #expect(dropList.values.sorted() == [9090])
        #expect(!settler.services.contradicts(dropList, now: 1))
        #expect(settler.services.contradicts(dropList.mapValues { $0 - 1 }, now: 1))
        #expect(settler.services.changeCount == 2)
        for (port, decision) in [
            (9091, .refuse(.unexplainedService)), (9090, .report(.unexplainedService)),
            (80, .report(.unexplainedService)),
        ] as [(UInt16, Decision)] {
            let flow = key(Site.a4, port, Site.service4, 80)
            settler.answer(.unknown, to: flow, now: 1)
            #expect(settler.outcome(packet(flow), now: 1) == .verdict(.init(decision: decision)))
        }
        // One backend that is no pod, and the service's packets are not dropped any more.
        settler.learn(
            TrackedFlow(
                original: key(Site.b4, 50_003, Site.service4, 80),
                reply: key(Site.node4, 8080, Site.b4, 50_003)), now: 1)
        #expect(settler.services.dropList(now: 1).isEmpty)
        #expect(settler.services.contradicts(dropList, now: 1))
        #expect(settler.services.changeCount == 3)
    }

    @Test("forgets services after a minute or two")
    func age() {
        var settler = Settler(Site.rule)
        settler.learn(Self.calls[0].flow, now: 1)
        #expect(settler.services.dropList(now: 30 * Self.second).count == 1)
        #expect(settler.services.dropList(now: 121 * Self.second).isEmpty)
    }

    @Test("takes what goes the wrong way for made up", arguments: [false, true])
    func wrongWay(isEgress: Bool) {
        var settler = Settler(Site.rule)
        let flow = key(Site.a4, 40_000, Site.service4, 80)
        var frame = packet(isEgress ? flow : flow.reversed)
        frame.replaceSubrange(0..<6, with: packet(flow.reversed)[0..<6])
        #expect(
            settler.outcome(frame, isEgress: isEgress, now: 1)
                == .verdict(.init(decision: .report(.unexplainedService))))
    }

    @Test("keeps its tables within their bounds")
    func bounds() {
        var settler = Settler(Site.rule)
        for number in 0..<UInt32(200_000) {
            let client = IPAddress(ipv4: 0x0af4_0100 + number >> 16)
            let port = UInt16(truncatingIfNeeded: number)
            let service = IPAddress(ipv4: 0x0a60_0000 + number % 1000)
            let call = FlowKey(
                transport: 6, source: client, destination: service, sourcePort: port,
                destinationPort: 80)
            settler.learn(
                TrackedFlow(original: call, reply: key(Site.c4, 8080, client, port)), now: 1)
            settler.answer(.unknown, to: call.over(17), now: 1)
        }
        #expect(settler.flowCount <= Settler.flowCountMax)
        #expect(settler.evictedFlowCount > 100_000)
        #expect(settler.services.dropList(now: 1).count <= 256)
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

extension Settler {
    fileprivate mutating func outcome(
        _ frame: [UInt8], isEgress: Bool = false, mayWait: Bool = false, now: UInt64
    ) -> Outcome {
        settle(frame.wire, isEgress: isEgress, at: Site.atA, now: now, mayWait: mayWait)
    }

    fileprivate mutating func verdict(on frame: [UInt8], isEgress: Bool) -> Verdict? {
        guard case .verdict(let verdict) = outcome(frame, isEgress: isEgress, now: 1) else {
            return nil
        }
        return verdict
    }
}
