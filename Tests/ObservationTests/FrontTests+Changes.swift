import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Flows that change, and crowds of them.
extension FrontTests {
    private static let translated = TrackedFlow(
        original: frontFlow(Site.a4, 80, Site.node4, 30_080),
        reply: frontFlow(Site.c4, 8080, Site.a4, 80))

    /// What the same addresses and ports are used for later, of which no event tells.
    private static let successors: [TrackedFlow] = [
        TrackedFlow(original: translated.original, reply: translated.original.reversed),
        TrackedFlow(
            original: translated.original, reply: frontFlow(Site.c4, 8080, Site.gateway4, 80)),
        // The node's port calls the pod's.
        TrackedFlow(original: translated.original.reversed, reply: translated.original),
    ]

    @Test(
        "are looked up again, and are what they have become",
        arguments: successors, [IPProtocol.tcp, IPProtocol.udp])
    func change(_ successor: TrackedFlow, _ transport: UInt8) {
        let before = Self.translated.with(transport: transport)
        let after = successor.with(transport: transport)
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(before, now: Site.begin)
        let ends: [(FlowKey, Direction)] = [
            (before.original, .fromPod), (before.original.reversed, .toPod),
        ]
        // However many packets come meanwhile: none of them makes the flow look newer.
        for milliseconds in stride(from: 0, to: 1000, by: 100) {
            for (flow, direction) in ends {
                #expect(
                    slowPath.decision(flow, direction, Site.begin + .milliseconds(milliseconds))
                        == .report(.podForm))
            }
        }
        let later = Site.begin + .seconds(1)
        for (flow, direction) in ends {
            #expect(slowPath.step(flow, direction, later) == .lookUp(before.original))
        }
        let isCurrent = slowPath.isCurrent(before.original, now: later)
        #expect(!isCurrent)
        slowPath.learn(.tracked(after), about: before.original, now: later)
        for (flow, direction) in ends {
            #expect(slowPath.decision(flow, direction, later) == Self.asItIs)
        }
    }

    @Test("keep their front known, since their lookups show that it is used")
    func use() {
        let flow = Self.translated.original
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(Self.translated, now: Site.begin)
        let lookup = Site.begin + .seconds(3500)
        #expect(slowPath.step(flow, .fromPod, lookup) == .lookUp(flow))
        slowPath.learn(.tracked(Self.translated), about: flow, now: lookup)
        #expect(slowPath.decision(flow, .fromPod, lookup) == .report(.podForm))
        // As many others as there is room for, all idle since then; a further one makes one of them go.
        let count = UInt32(FrontTable.countMax)
        for number in 1...count {
            let time = Site.begin + .seconds(number == count ? 3700 : 1)
            let called = IPAddress(ipv4: 0xcb00_7200 + number)
            slowPath.learn(
                TrackedFlow(
                    original: frontFlow(Site.b4, 50_000, called, 80),
                    reply: frontFlow(Site.c4, 8080, Site.b4, 50_000)), now: time)
        }
        #expect(slowPath.fronts.keys.count == FrontTable.countMax)
        #expect(slowPath.fronts.notLearnedCount == 0)
        #expect(slowPath.fronts.keys.contains { $0.address == Site.node4 })
    }

    @Test("are looked up again if a packet opens a connection")
    func opening() {
        let flow = Self.translated.original
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(Self.translated, now: Site.begin)
        let soon = Site.begin + .milliseconds(100)
        #expect(slowPath.step(flow, .fromPod, Site.begin, flags: TCPHeader.syn) != .lookUp(flow))
        #expect(slowPath.decision(flow, .fromPod, soon) == .report(.podForm))
        #expect(slowPath.step(flow, .fromPod, soon, flags: TCPHeader.syn) == .lookUp(flow))
        // One lookup is enough.
        slowPath.learn(.tracked(Self.translated), about: flow, now: soon)
        #expect(slowPath.step(flow, .fromPod, soon, flags: TCPHeader.syn) != .lookUp(flow))
    }

    @Test(
        "stay what they are if they cannot be looked up",
        arguments: [LookupResult.notFound, .notAsked])
    func notFound(_ result: LookupResult) {
        let flow = Self.translated.original
        var slowPath = SlowPath(Site.rule)
        slowPath.learn(Self.translated, now: Site.begin)
        let later = Site.begin + .seconds(5)
        #expect(slowPath.step(flow, .fromPod, later) == .lookUp(flow))
        slowPath.learn(result, about: flow, now: later)
        #expect(slowPath.decision(flow, .fromPod, later) == .report(.podForm))
    }

    @Test("are found by a listing, however many flows to services there are", arguments: [4, 6])
    func crowd(version: Int) {
        var slowPath = SlowPath(Site.rule)
        var room = ListingRoom()
        for number in 0..<UInt32(SlowPath.flowCountMax) {
            let client = FlowKey(
                transport: 17, source: Site.a4, destination: Site.service4,
                sourcePort: UInt16(truncatingIfNeeded: number), destinationPort: 53)
            slowPath.learn(
                listed: TrackedFlow(
                    original: client,
                    reply: frontFlow(Site.c4, 53, Site.a4, client.sourcePort).with(transport: 17)),
                &room, now: Site.begin)
        }
        let isIPv4 = version == 4
        let (pod, backend) = isIPv4 ? (Site.a4, Site.c4) : (Site.a6, Site.c6)
        func flow(to address: IPAddress, _ port: UInt16) -> TrackedFlow {
            TrackedFlow(
                original: frontFlow(pod, 80, address, port),
                reply: frontFlow(backend, 8080, pod, 80))
        }
        let front = flow(to: isIPv4 ? Site.node4 : Site.node6, 30_080)
        let service = flow(to: isIPv4 ? Site.service4 : Site.service6, 443)
        slowPath.learn(listed: front, &room, now: Site.begin)
        slowPath.learn(listed: service, &room, now: Site.begin)
        #expect(slowPath.isCurrent(front.original, now: Site.begin))
        // The rest is looked up when its packets come.
        #expect(slowPath.isCurrent(service.original, now: Site.begin) == !isIPv4)
        #expect(slowPath.evictedFlowCount == 0)
    }

    @Test("have their front learned by a listing after events were lost, and are looked up")
    func loss() {
        let flow = Self.translated.original
        var slowPath = SlowPath(Site.rule)
        #expect(slowPath.decision(flow, .fromPod, Site.begin) == Self.asItIs)
        slowPath.invalidate(before: Site.begin)
        slowPath.learnFront(of: Self.translated, now: Site.begin)
        #expect(slowPath.step(flow, .fromPod, Site.begin) == .lookUp(flow))
        slowPath.learn(.tracked(Self.translated), about: flow, now: Site.begin)
        #expect(slowPath.decision(flow, .fromPod, Site.begin) == .report(.podForm))
    }
}

extension TrackedFlow {
    fileprivate func with(transport: UInt8) -> Self {
        Self(original: original.with(transport: transport), reply: reply.with(transport: transport))
    }
}

extension SlowPath {
    fileprivate mutating func step(
        _ flow: FlowKey, _ direction: Direction, _ now: MonotonicTime,
        flags: UInt8 = TCPHeader.ack
    ) -> Step {
        decide(
            frontPacket(flow, flags: flags).wire, direction: direction, at: Site.atA, now: now)
    }

    fileprivate mutating func decision(
        _ flow: FlowKey, _ direction: Direction, _ now: MonotonicTime
    ) -> Decision? {
        guard case .decided(let outcome) = step(flow, direction, now) else { return nil }
        return outcome.decision
    }
}
