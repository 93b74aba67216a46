import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Step 8, requests: the part of each packet, as pod a's edge sees it.
@Suite("The part of a packet in a request")
struct RequestPartTests {
    /// A part, for comparison.
    enum Part: Equatable {
        case request(FlowKey, UInt16 = 0, at: RequestEdge)
        case answer(
            FlowKey, UInt16 = 0, at: RequestEdge, isReset: Bool = false, unknown: FlowKey? = nil,
            isFromFirewall: Bool = false)

        init?(_ part: RequestPart?) {
            switch part {
            case .request(let key, let edge): self = .request(key.flow, key.sequence, at: edge)
            case .answer(let answer):
                self = .answer(
                    answer.key.flow, answer.key.sequence, at: answer.edge,
                    isReset: answer.isReset, unknown: answer.unknownKey?.flow,
                    isFromFirewall: answer.isFromFirewall)
                if let unknown = answer.unknownKey, unknown.sequence != answer.key.sequence {
                    return nil
                }
            case nil: return nil
            }
        }
    }

    /// The addresses of a family: a is here, c is on another node.
    struct Family: Sendable, CustomTestStringConvertible {
        let a, b, c, service, node, gateway, outside: IPAddress
        var testDescription: String { "\(a.family)" }

        func flow(_ source: IPAddress, _ from: UInt16, _ destination: IPAddress, _ to: UInt16)
            -> FlowKey
        {
            FlowKey(
                transport: 6, source: source, destination: destination, sourcePort: from,
                destinationPort: to)
        }

        func echo(_ source: IPAddress, _ destination: IPAddress) -> FlowKey {
            FlowKey(
                transport: a.family == .ipv4 ? 1 : 58, source: source, destination: destination,
                sourcePort: 0x1234, destinationPort: 0x1234)
        }

        func echoType(isReply: Bool) -> UInt8 {
            a.family == .ipv4 ? (isReply ? 0 : 8) : (isReply ? 129 : 128)
        }
    }

    static let families = [
        Family(
            a: Site.a4, b: Site.b4, c: Site.c4, service: Site.service4, node: Site.node4,
            gateway: Site.gateway4, outside: Site.outside4),
        Family(
            a: Site.a6, b: Site.b6, c: Site.c6, service: Site.service6, node: Site.node6,
            gateway: Site.gateway6, outside: Site.outside6),
    ]

    private static let (syn, accept, reset, ack): (UInt8, UInt8, UInt8, UInt8) = (
        0x02, 0x12, 0x14, 0x10
    )

    private static func frame(_ flow: FlowKey, _ payload: [UInt8], isToA: Bool) -> [UInt8] {
        Frame.ethernet(
            to: isToA ? Site.aMAC : Site.bridgeMAC, from: isToA ? Site.bridgeMAC : Site.aMAC,
            type: Frame.type(of: flow.source),
            Frame.ip(from: flow.source, to: flow.destination, protocol: flow.transport, payload))
    }

    /// Shows the slow path a segment of a flow.
    private static func outcome(
        _ flow: FlowKey, _ flags: UInt8, _ family: Family, in slowPath: inout SlowPath
    ) -> SlowPath.Outcome? {
        var payload = Frame.ports(flow.sourcePort, flow.destinationPort)
        payload[13] = flags
        return outcome(flow, payload, family, in: &slowPath)
    }

    private static func outcome(
        _ flow: FlowKey, _ payload: [UInt8], _ family: Family, in slowPath: inout SlowPath
    ) -> SlowPath.Outcome? {
        let isToA = flow.destination == family.a
        let step = slowPath.decide(
            frame(flow, payload, isToA: isToA).wire, direction: isToA ? .toPod : .fromPod,
            at: Site.atA, now: Site.begin)
        guard case .decided(let outcome) = step else { return nil }
        return outcome
    }

    private static func echo(
        _ flow: FlowKey, isReply: Bool, _ family: Family, in slowPath: inout SlowPath
    ) -> SlowPath.Outcome? {
        outcome(
            flow, [family.echoType(isReply: isReply), 0, 0, 0, 0x12, 0x34, 0xab, 0xcd], family,
            in: &slowPath)
    }

    @Test("is told by who sends it, if both ends are pods", arguments: families)
    func plain(_ family: Family) {
        let (call, served) = (
            family.flow(family.a, 40_000, family.c, 80), family.flow(family.c, 40_000, family.a, 80)
        )
        let rows: [(FlowKey, UInt8, Part?)] = [
            (call, Self.syn, .request(call, at: .sender)),
            (call.reversed, Self.accept, .answer(call, at: .sender)),
            (call.reversed, Self.reset, .answer(call, at: .sender, isReset: true)),
            (served, Self.syn, .request(served, at: .observedEnd)),
            (served.reversed, Self.accept, .answer(served, at: .observedEnd)),
            (served.reversed, Self.reset, .answer(served, at: .observedEnd, isReset: true)),
            // Both open the connection at once.
            (served.reversed, Self.syn, .answer(served, at: .observedEnd)),
            (call.reversed, Self.syn, .answer(call, at: .sender)),
            // The other end's answers answer nothing that is held.
            (call, Self.accept, nil), (call, Self.reset, nil),
            (served, Self.accept, nil), (served, Self.reset, nil),
            (call, Self.ack, nil), (served.reversed, Self.ack, nil),
        ]
        var slowPath = SlowPath(Site.rule)
        for (flow, flags, part) in rows {
            let outcome = Self.outcome(flow, flags, family, in: &slowPath)
            #expect(Part(outcome?.requestPart) == part, "\(flow), \(flags)")
            #expect(outcome?.decision.step == .observedEnd && outcome?.translation == nil)
        }
    }

    @Test("of an echo has its number", arguments: families)
    func echo(_ family: Family) {
        let (calls, served) = (family.echo(family.a, family.c), family.echo(family.c, family.a))
        var slowPath = SlowPath(Site.rule)
        // The observed end is a, which has the lower address.
        let rows: [(FlowKey, isReply: Bool, Part?)] = [
            (served, false, .request(served, 0xabcd, at: .observedEnd)),
            (served.reversed, true, .answer(served, 0xabcd, at: .observedEnd)),
            (calls, false, nil), (calls.reversed, true, nil),
        ]
        for (flow, isReply, part) in rows {
            let outcome = Self.echo(flow, isReply: isReply, family, in: &slowPath)
            #expect(Part(outcome?.requestPart) == part, "\(flow), \(isReply)")
        }
        // At the edge of b, whose address is above a's.
        let ping = family.echo(family.b, family.a)
        for (direction, part) in [
            (.fromPod, .request(ping, 0xabcd, at: .sender)),
            (.toPod, .answer(ping, 0xabcd, at: .sender)),
        ] as [(Direction, Part?)] {
            let flow = direction == .fromPod ? ping : ping.reversed
            let bytes = Frame.ethernet(
                to: Site.bMAC, from: Site.aMAC, type: Frame.type(of: family.a),
                Frame.ip(
                    from: flow.source, to: flow.destination, protocol: flow.transport,
                    [
                        family.echoType(isReply: direction == .toPod), 0, 0, 0, 0x12, 0x34, 0xab,
                        0xcd,
                    ]))
            let part8 = slowPath.requestPart(in: bytes, direction, at: Site.atB)
            #expect(Part(part8) == part)
        }
    }

    @Test("is nothing where one edge decides alone", arguments: families)
    func alone(_ family: Family) {
        var slowPath = SlowPath(Site.rule)
        let flows = [
            family.flow(family.a, 40_000, family.outside, 80),
            family.flow(family.a, 40_000, family.gateway, 80),
            family.flow(family.outside, 40_000, family.a, 80),
        ]
        for flow in flows {
            let outcome = Self.outcome(flow, Self.syn, family, in: &slowPath)
            #expect(outcome?.decision == .report(.oneEndIsNoPod) && outcome?.requestPart == nil)
        }
        let toItself = family.flow(family.a, 40_000, family.a, 80)
        for direction in Direction.allCases {
            var ports = Frame.ports(40_000, 80)
            ports[13] = Self.syn
            let frame = Self.frame(toItself, ports, isToA: true)
            #expect(slowPath.requestPart(in: frame, direction, at: Site.atA) == nil)
            // A copy that the bridge has flooded.
            let flooded = Self.frame(
                family.flow(family.c, 40_000, family.a, 80), ports, isToA: true)
            #expect(slowPath.requestPart(in: flooded, .toPod, at: Site.atB) == nil)
        }
        var everyEdge = SlowPath(Rule(Site.addressPlan, deduplicates: false))
        let call = family.flow(family.a, 40_000, family.c, 80)
        let outcome = Self.outcome(call, Self.syn, family, in: &everyEdge)
        #expect(outcome?.decision == .report(.everyEdge) && outcome?.requestPart == nil)
    }

    /// A call whose backend is known.
    private static func tracked(
        _ family: Family, clientPort: UInt16 = 40_000, backend: IPAddress? = nil,
        seenAs: IPAddress? = nil, seenPort: UInt16? = nil
    ) -> TrackedFlow {
        TrackedFlow(
            original: family.flow(family.a, clientPort, family.service, 80),
            reply: family.flow(
                backend ?? family.c, 8080, seenAs ?? family.a, seenPort ?? clientPort))
    }

    @Test("of a call to a service is the pod form's", arguments: families)
    func known(_ family: Family) {
        for seenPort in [40_000, 50_001] as [UInt16] {
            let flow = Self.tracked(family, seenPort: seenPort)
            let (call, podForm) = (flow.original, family.flow(family.a, seenPort, family.c, 8080))
            let rows: [(FlowKey, UInt8, Part?)] = [
                (call, Self.syn, .request(podForm, at: .sender)),
                (call.reversed, Self.accept, .answer(podForm, at: .sender, unknown: call)),
                (
                    call.reversed, Self.reset,
                    .answer(podForm, at: .sender, isReset: true, unknown: call)
                ),
                (call, Self.reset, nil), (call, Self.ack, nil), (call.reversed, Self.ack, nil),
            ]
            var slowPath = SlowPath(Site.rule)
            slowPath.learn(flow, now: Site.begin)
            for (packet, flags, part) in rows {
                let outcome = Self.outcome(packet, flags, family, in: &slowPath)
                #expect(outcome?.decision == .refuse(.serviceForm))
                #expect(Part(outcome?.requestPart) == part, "\(packet), \(flags)")
                #expect(outcome?.translation == (part == nil ? nil : Translation(flow)))
            }
        }
    }

    @Test(
        "of a call is an answer if the client is the observed end", arguments: families,
        [80, 8080] as [UInt16])
    func observedClient(_ family: Family, clientPort: UInt16) {
        let flow = Self.tracked(family, clientPort: clientPort)
        let (call, fromBackend) = (flow.original, flow.reply)
        // What was held while the backend was not known is found under the call.
        let found = Part.answer(call, at: .sender, unknown: call)
        let rows: [(FlowKey, UInt8, Part?)] = [
            (call, Self.syn, .answer(fromBackend, at: .observedEnd, unknown: call)),
            (
                call, Self.reset,
                .answer(fromBackend, at: .observedEnd, isReset: true, unknown: call)
            ),
            (call.reversed, Self.accept, found), (call.reversed, Self.reset, found),
            (call, Self.ack, nil), (call.reversed, Self.ack, nil),
        ]
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(flow, now: Site.begin)
        for (packet, flags, part) in rows {
            let outcome = Self.outcome(packet, flags, family, in: &slowPath)
            #expect(outcome?.decision == .report(.podForm))
            #expect(Part(outcome?.requestPart) == part, "\(packet), \(flags)")
            #expect(outcome?.translation == Translation(flow))
        }
    }

    @Test(
        "of a call is an answer to the call if no pod's edge sees its pod form",
        arguments: families)
    func withoutPod(_ family: Family) {
        let flows = [
            Self.tracked(family, backend: family.node),
            Self.tracked(family, backend: family.a, seenAs: family.gateway),
            Self.tracked(family, backend: family.c, seenAs: family.gateway),
            Self.tracked(family, backend: family.a),
        ]
        for flow in flows {
            var slowPath = SlowPath(Site.rule)
            slowPath.learn(flow, now: Site.begin)
            let call = flow.original
            // A request may have been held while this was not known.
            let found = Part.answer(call, at: .sender, unknown: call)
            let rows: [(FlowKey, UInt8, Part?)] = [
                (call, Self.syn, nil), (call, Self.reset, nil), (call.reversed, Self.ack, nil),
                (call.reversed, Self.accept, found), (call.reversed, Self.reset, found),
            ]
            for (packet, flags, part) in rows {
                let outcome = Self.outcome(packet, flags, family, in: &slowPath)
                #expect(
                    outcome != nil && Part(outcome?.requestPart) == part, "\(packet), \(flags)")
                // A pod that calls itself is reported in the pod form.
                #expect(
                    (outcome?.translation != nil) == (outcome?.decision == .report(.podForm)))
            }
        }
    }

    /// What is known of calls, none of which connection tracking knows.
    enum Ignorance: CaseIterable, Sendable {
        case notFound, notAsked, unavailable, eventsLost
        /// The service's backends have lower ports than the client.
        case standIn
    }

    @Test(
        "of a call that nobody knows is held under the call, unless it is reported",
        arguments: families,
        Ignorance.allCases)
    func unknown(_ family: Family, _ ignorance: Ignorance) {
        var slowPath = SlowPath(Site.rule)
        let call = Self.tracked(family).original
        switch ignorance {
        case .notFound: slowPath.learn(.notFound, about: call, now: Site.begin)
        case .notAsked: slowPath.learn(.notAsked, about: call, now: Site.begin)
        case .unavailable: slowPath.learn(.unavailable, about: call, now: Site.begin)
        case .eventsLost:
            slowPath.invalidate(before: Site.begin)
            slowPath.learn(.notFound, about: call, now: Site.begin)
        case .standIn:
            slowPath.learn(
                TrackedFlow(
                    original: family.flow(family.b, 40_000, family.service, 80),
                    reply: family.flow(family.c, 8080, family.b, 40_000)), now: Site.begin)
            slowPath.learn(.notFound, about: call, now: Site.begin)
        }
        let isHeld = ignorance == .unavailable || ignorance == .standIn
        // A reset of a call that has not left this node is a firewall's.
        let isFromFirewall = ignorance == .notFound || ignorance == .standIn
        let rows: [(FlowKey, UInt8, Part?)] = [
            (call, Self.syn, isHeld ? .request(call, at: .sender) : nil),
            (call.reversed, Self.accept, .answer(call, at: .sender, unknown: call)),
            (
                call.reversed, Self.reset,
                .answer(
                    call, at: .sender, isReset: true, unknown: call,
                    isFromFirewall: isFromFirewall)
            ),
            (call, Self.reset, nil), (call, Self.ack, nil), (call.reversed, Self.ack, nil),
        ]
        for (packet, flags, part) in rows {
            let outcome = Self.outcome(packet, flags, family, in: &slowPath)
            #expect(outcome?.decision.isReported == !isHeld)
            #expect(Part(outcome?.requestPart) == part, "\(packet), \(flags)")
            #expect(outcome?.translation == nil)
        }
    }

    @Test("of a call that becomes known is found under both names", arguments: families)
    func learned(_ family: Family) {
        var slowPath = SlowPath(Site.rule)
        let flow = Self.tracked(family)
        let call = flow.original
        slowPath.learn(.unavailable, about: call, now: Site.begin)
        let request = Self.outcome(call, Self.syn, family, in: &slowPath)
        #expect(Part(request?.requestPart) == .request(call, at: .sender))
        #expect(slowPath.translation(ofUnknown: call, now: Site.begin) == nil)
        slowPath.learn(flow, now: Site.begin)
        #expect(slowPath.translation(ofUnknown: call, now: Site.begin) == Translation(flow))
        let answer = Self.outcome(call.reversed, Self.accept, family, in: &slowPath)
        #expect(
            Part(answer?.requestPart)
                == .answer(flow.reply.reversed, at: .sender, unknown: call))
        for other in [
            Self.tracked(family, backend: family.node),
            Self.tracked(family, seenAs: family.gateway),
            Self.tracked(family, backend: family.service),
        ] {
            slowPath.learn(other, now: Site.begin)
            #expect(slowPath.translation(ofUnknown: call, now: Site.begin) == nil)
        }
    }

    @Test(
        "of a ping to a service is held if connection tracking cannot be asked",
        arguments: families)
    func pingOfService(_ family: Family) {
        let call = family.echo(family.a, family.service)
        for isKnown in [true, false] {
            var slowPath = SlowPath(Site.rule)
            if isKnown {
                slowPath.learn(
                    TrackedFlow(original: call, reply: call.reversed), now: Site.begin)
            } else {
                slowPath.learn(.unavailable, about: call, now: Site.begin)
            }
            let request = Self.echo(call, isReply: false, family, in: &slowPath)
            let answer = Self.echo(call.reversed, isReply: true, family, in: &slowPath)
            #expect(
                Part(request?.requestPart)
                    == (isKnown ? nil : .request(call, 0xabcd, at: .sender)))
            // The request may have been held before the call was known.
            #expect(
                Part(answer?.requestPart) == .answer(call, 0xabcd, at: .sender, unknown: call))
            #expect(request?.decision.isReported == isKnown)
        }
    }

    @Test("is nothing in a call that goes the wrong way", arguments: families)
    func wrongWay(_ family: Family) {
        var slowPath = SlowPath(Site.rule)
        var ports = Frame.ports(40_000, 80)
        ports[13] = Self.syn
        let frame = Self.frame(
            family.flow(family.a, 40_000, family.service, 80), ports, isToA: true)
        let outcome = slowPath.outcome(of: frame.wire, direction: .toPod, at: Site.atA)
        #expect(outcome?.decision == .report(.unexplainedService))
        #expect(outcome?.requestPart == nil)
    }
}
