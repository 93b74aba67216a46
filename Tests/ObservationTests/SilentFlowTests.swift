import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Calls to services whose backends a table without events has told, as Cilium's.
@Suite("The slow path, of flows without events")
struct SilentFlowTests {
    private static let call = key(Site.a4, 40_000, Site.service4, 80)

    private static func flow(_ call: FlowKey, _ backend: IPAddress, _ port: UInt16) -> TrackedFlow {
        TrackedFlow(
            original: call,
            reply: FlowKey(
                transport: call.transport, source: backend, destination: call.source,
                sourcePort: port, destinationPort: call.sourcePort))
    }

    @Test("decides about them as about tracked ones")
    func decisions() {
        for call in SlowPathTests.calls {
            var tracked = SlowPath(Site.rule)
            var found = SlowPath(Site.rule)
            tracked.learn(.tracked(call.flow), about: call.original, now: Site.begin)
            found.learn(.foundWithoutEvents(call.flow), about: call.original, now: Site.begin)
            for direction in Direction.allCases {
                let frame = segment(
                    direction == .fromPod ? call.original : call.original.reversed, TCPHeader.ack)
                #expect(
                    found.step(frame, direction, Site.begin)
                        == tracked.step(frame, direction, Site.begin))
            }
            #expect(found.callCounts == tracked.callCounts && found.callCounts.knownCount == 1)
        }
    }

    @Test("looks them up again when a connection opens, and at most once a second")
    func opening() {
        var slowPath = SlowPath(Site.rule)
        let first = Self.flow(Self.call, Site.c4, 50_000)
        slowPath.learn(.foundWithoutEvents(first), about: Self.call, now: Site.begin)
        let opens = segment(Self.call, TCPHeader.syn)
        let data = segment(Self.call, TCPHeader.ack)
        let soon = Site.begin + .milliseconds(999)
        let later = Site.begin + .seconds(1)
        #expect(slowPath.isCurrent(Self.call, now: soon))
        #expect(!slowPath.isCurrent(Self.call, now: later))
        #expect(slowPath.step(data, .fromPod, later) != .lookUp(Self.call))
        #expect(slowPath.step(opens, .fromPod, soon) != .lookUp(Self.call))
        #expect(slowPath.step(opens, .fromPod, later) == .lookUp(Self.call))
        // The client has used its port again, and got another backend.
        let second = Self.flow(Self.call, Site.b4, 50_001)
        slowPath.learn(.foundWithoutEvents(second), about: Self.call, now: later)
        guard case .decided(let outcome) = slowPath.step(data, .fromPod, later + .seconds(9)) else {
            Issue.record("not decided")
            return
        }
        #expect(outcome.decision == .report(.podForm))
        #expect(outcome.translation == Translation(second))
    }

    @Test("looks a port that is used again within a second up when the second is over")
    func reopening() {
        var slowPath = SlowPath(Site.rule)
        let first = Self.flow(Self.call, Site.c4, 50_000)
        let (opens, data) = (segment(Self.call, TCPHeader.syn), segment(Self.call, TCPHeader.ack))
        #expect(slowPath.step(opens, .fromPod, Site.begin) == .lookUp(Self.call))
        slowPath.learn(.foundWithoutEvents(first), about: Self.call, now: Site.begin)
        // The same packet, decided once more, opens nothing else.
        #expect(slowPath.step(opens, .fromPod, Site.begin) != .lookUp(Self.call))
        let later = Site.begin + .seconds(2)
        #expect(slowPath.step(data, .fromPod, later) != .lookUp(Self.call))
        slowPath.learn(.foundWithoutEvents(first), about: Self.call, now: later)
        let soon = later + .milliseconds(500)
        #expect(slowPath.step(opens, .fromPod, soon) != .lookUp(Self.call))
        #expect(slowPath.step(data, .fromPod, soon) != .lookUp(Self.call))
        #expect(slowPath.step(data, .fromPod, later + .seconds(1)) == .lookUp(Self.call))
    }

    @Test("looks flows of other protocols up again after a second")
    func datagrams() {
        var slowPath = SlowPath(Site.rule)
        let call = Self.call.over(IPProtocol.udp)
        slowPath.learn(
            .foundWithoutEvents(Self.flow(call, Site.c4, 50_000)), about: call, now: Site.begin)
        let frame = segment(call, 0)
        #expect(slowPath.step(frame, .fromPod, Site.begin + .milliseconds(999)) != .lookUp(call))
        #expect(slowPath.step(frame, .fromPod, Site.begin + .seconds(1)) == .lookUp(call))
    }

    @Test("forgets what nobody knows any more, and keeps it where nobody could be asked")
    func gone() {
        for (result, isKnown) in [(.notFound, false), (.notAsked, true)] as [(LookupResult, Bool)] {
            var slowPath = SlowPath(Site.rule)
            slowPath.learn(
                .foundWithoutEvents(Self.flow(Self.call, Site.c4, 8080)), about: Self.call,
                now: Site.begin)
            let later = Site.begin + .seconds(1)
            slowPath.learn(result, about: Self.call, now: later)
            #expect(slowPath.knows(Self.call, now: later) == isKnown)
        }
    }

    @Test("are not outdated when events of connection tracking were lost")
    func lostEvents() {
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(
            .foundWithoutEvents(Self.flow(Self.call, Site.c4, 8080)), about: Self.call,
            now: Site.begin)
        slowPath.invalidate(before: Site.begin + .nanoseconds(1))
        #expect(
            slowPath.step(segment(Self.call, TCPHeader.ack), .fromPod, Site.begin + .seconds(5))
                == .decided(.init(decision: .refuse(.serviceForm))))
    }

    @Test("let programs drop a service's packets only if each new flow shows")
    func dropList() {
        for (transport, count) in [(IPProtocol.tcp, 1), (IPProtocol.udp, 0), (IPProtocol.sctp, 0)] {
            var slowPath = SlowPath(Site.rule)
            let call = Self.call.over(transport)
            slowPath.learn(
                .foundWithoutEvents(Self.flow(call, Site.c4, 8080)), about: call, now: Site.begin)
            _ = slowPath.step(segment(call, TCPHeader.ack), .fromPod, Site.begin)
            let dropList = slowPath.services.dropList(now: Site.begin)
            #expect(dropList.count == count)
            // Connection tracking knew the service before.
            var other = SlowPath(Site.rule)
            let older = key(Site.b4, 40_000, Site.service4, 80).over(transport)
            other.learn(Self.flow(older, Site.c4, 8080), now: Site.begin)
            let before = other.services.dropList(now: Site.begin)
            #expect(before.count == 1)
            other.learn(
                .foundWithoutEvents(Self.flow(call, Site.c4, 8080)), about: call, now: Site.begin)
            _ = other.step(segment(call, TCPHeader.ack), .fromPod, Site.begin)
            #expect(other.services.contradicts(before, now: Site.begin) == (count == 0))
        }
    }

    @Test(
        "have errors of backends that quote the pod form", arguments: [(40_000, false), (80, true)])
    func halfTranslatedError(port: UInt16, isReported: Bool) {
        var slowPath = SlowPath(Site.rule)
        let quoted = Frame.ip(
            from: Site.a4, to: Site.c4, protocol: 17, Frame.ports(port, 8080, more: 4))
        let frame = Frame.ethernet(
            to: Site.aMAC, from: Site.bridgeMAC, type: EtherType.ipv4,
            Frame.ip(
                from: Site.service4, to: Site.a4, protocol: 1, [3, 3, 0, 0, 0, 0, 0, 0] + quoted))
        guard case .decided(let outcome) = slowPath.step(frame, .toPod, Site.begin) else {
            Issue.record("not decided")
            return
        }
        #expect(outcome.decision == (isReported ? .report(.podForm) : .refuse(.serviceForm)))
        #expect(outcome.translation?.newAddress == (isReported ? Site.c4 : nil))
        // With the service's form in the quotation it is a call that has to be known.
        let other = Frame.ethernet(
            to: Site.aMAC, from: Site.bridgeMAC, type: EtherType.ipv4,
            Frame.ip(
                from: Site.service4, to: Site.a4, protocol: 1,
                [3, 3, 0, 0, 0, 0, 0, 0]
                    + Frame.ip(
                        from: Site.a4, to: Site.service4, protocol: 17,
                        Frame.ports(port, 80, more: 4))))
        #expect(
            slowPath.step(other, .toPod, Site.begin)
                == .lookUp(key(Site.a4, port, Site.service4, 80).over(17)))
    }

    @Test("are counted as calls if they began while a capture runs, not if it found them there")
    func listed() {
        let flow = Self.flow(Self.call, Site.c4, 50_000)
        var room = ListingRoom()
        var (found, told) = (SlowPath(Site.rule), SlowPath(Site.rule))
        found.learn(listed: flow, &room, now: Site.begin)
        told.learn(flow, now: Site.begin)
        #expect(found.callCounts.count == 0 && told.callCounts.knownCount == 1)
        // Both know it all the same.
        let data = segment(Self.call, TCPHeader.ack)
        for slowPath in [found, told] {
            #expect(slowPath.isCurrent(Self.call, now: Site.begin))
            var slowPath = slowPath
            guard case .decided(let outcome) = slowPath.step(data, .fromPod, Site.begin) else {
                Issue.record("not decided")
                return
            }
            #expect(outcome.decision == .report(.podForm))
        }
        // A new connection from the same port has an event of its own.
        found.learn(flow, now: Site.begin)
        #expect(found.callCounts.knownCount == 1)
    }

    @Test("are counted as unexplained once a second, if they are answered")
    func unexplained() {
        var slowPath = SlowPath(Site.rule)
        let toPod = Direction.toPod
        let answer = segment(Self.call.reversed, TCPHeader.ack)
        slowPath.learn(.notFound, about: Self.call, now: Site.begin)
        // Neither the request nor a refusal shows that anybody translates the call.
        _ = slowPath.step(segment(Self.call, TCPHeader.syn), .fromPod, Site.begin)
        _ = slowPath.step(segment(Self.call.reversed, TCPHeader.rst), toPod, Site.begin)
        #expect(slowPath.callCounts.unexplainedCount == 0)
        for _ in 0..<3 { _ = slowPath.step(answer, toPod, Site.begin) }
        #expect(slowPath.callCounts.unexplainedCount == 1)
        let later = Site.begin + .seconds(1)
        slowPath.learn(.notFound, about: Self.call, now: later)
        _ = slowPath.step(answer, toPod, later)
        #expect(slowPath.callCounts == CallCounts(knownCount: 0, unexplainedCount: 2))
        // What the node itself has at a service's address needs no translation.
        var plan = Site.addressPlan
        plan.nodeAddresses.insert(Site.service4)
        var other = SlowPath(Rule(plan))
        other.learn(.notFound, about: Self.call, now: Site.begin)
        _ = other.step(answer, toPod, Site.begin)
        #expect(other.callCounts.count == 0)
    }

    @Test("leave out what nothing explains, if that is wanted")
    func untracked() {
        var slowPath = SlowPath(Site.rule)
        slowPath.refusesUnexplained = true
        slowPath.learn(.notFound, about: Self.call, now: Site.begin)
        // A request, its refusal and data: none of them has a part in what waits for an answer.
        for (frame, direction) in [
            (segment(Self.call, TCPHeader.syn), .fromPod),
            (segment(Self.call.reversed, TCPHeader.rst), .toPod),
            (segment(Self.call, TCPHeader.ack), .fromPod),
            (segment(Self.call.reversed, TCPHeader.ack), .toPod),
        ] as [([UInt8], Direction)] {
            #expect(
                slowPath.step(frame, direction, Site.begin)
                    == .decided(.init(decision: .refuse(.unexplainedService))))
        }
        // What is known is reported as ever.
        let known = key(Site.a4, 80, Site.service4, 80)
        slowPath.learn(.tracked(Self.flow(known, Site.c4, 8080)), about: known, now: Site.begin)
        guard
            case .decided(let outcome) = slowPath.step(
                segment(known, TCPHeader.ack), .fromPod, Site.begin)
        else {
            Issue.record("not decided")
            return
        }
        #expect(outcome.decision == .report(.podForm))
    }
}

private func key(
    _ source: IPAddress, _ sourcePort: UInt16, _ destination: IPAddress, _ destinationPort: UInt16
) -> FlowKey {
    FlowKey(
        transport: IPProtocol.tcp, source: source, destination: destination,
        sourcePort: sourcePort, destinationPort: destinationPort)
}

extension FlowKey {
    fileprivate func over(_ transport: UInt8) -> Self {
        Self(
            transport: transport, source: source, destination: destination, sourcePort: sourcePort,
            destinationPort: destinationPort)
    }
}

/// A packet of a flow: for TCP a segment with these flags.
private func segment(_ flow: FlowKey, _ flags: UInt8) -> [UInt8] {
    let isToPod = flow.destination == Site.a4
    var payload = Frame.ports(flow.sourcePort, flow.destinationPort, more: 16)
    if flow.transport == IPProtocol.tcp {
        payload[12] = 5 << 4
        payload[TCPHeader.flags] = flags
    }
    return Frame.ethernet(
        to: isToPod ? Site.aMAC : Site.bridgeMAC, from: isToPod ? Site.bridgeMAC : Site.aMAC,
        type: Frame.type(of: flow.source),
        Frame.ip(from: flow.source, to: flow.destination, protocol: flow.transport, payload))
}

extension SlowPath {
    fileprivate mutating func step(
        _ frame: [UInt8], _ direction: Direction, _ now: MonotonicTime
    ) -> Step {
        decide(frame.wire, direction: direction, at: Site.atA, now: now)
    }
}
