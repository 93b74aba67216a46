package import Frames

/// Settles what the kernel's form of the rule leaves open: the one place for fragments, group
/// frames, extension headers, ICMP errors, service forms, and what is cut short.
///
/// It remembers what later packets need: translations, services, and the ports of datagrams that
/// come in pieces. All of it is bounded. It belongs to one forwarder, so there is no lock.
package struct Settler: Sendable {
    package var rule: Rule
    package private(set) var flows = BoundedTable<FlowKey, TrackedFlow>(
        countMax: flowCountMax, ageNanoseconds: flowAgeNanoseconds)
    /// Flows that were asked about without success, so that nobody asks again at once.
    private var unknown = BoundedTable<FlowKey, Bool>(
        countMax: flowCountMax / 8, ageNanoseconds: 1_000_000_000)
    private var fragments = BoundedTable<FragmentKey, IPPacket.Ports>(
        countMax: fragmentedCountMax, ageNanoseconds: fragmentAgeNanoseconds)
    package private(set) var services = ServiceTable()
    package private(set) var counts = Counts()

    /// Half a minute of 2,000 new flows a second. An entry takes about 200 bytes.
    static let flowCountMax = 65_536
    /// A flow that says nothing for so long is asked about again when it does.
    static let flowAgeNanoseconds: UInt64 = 120_000_000_000
    /// Datagrams in pieces that are under way at once; the kernel's own bound is 4 MiB of them.
    static let fragmentedCountMax = 8192
    /// The kernel gives up on a datagram after 30 seconds (`ipfrag_time`).
    static let fragmentAgeNanoseconds: UInt64 = 30_000_000_000

    private struct FragmentKey: Hashable, Sendable {
        let source: IPAddress
        let destination: IPAddress
        let identification: UInt32
    }

    /// What was settled by more than the packet itself.
    package struct Counts: Equatable, Sendable {
        package var fragments: UInt64 = 0
        package var services: UInt64 = 0
        /// Questions to connection tracking.
        package var questions: UInt64 = 0
        /// Flows that neither an event nor a question explained.
        package var unexplained: UInt64 = 0
        /// Packets sent in another form than they were captured in.
        package var translated: UInt64 = 0
    }

    package init(_ rule: Rule) {
        self.rule = rule
    }

    /// What becomes of a frame, and how it is to be changed first.
    package struct Verdict: Equatable, Sendable {
        package let decision: Decision
        package var translation: Translation?
        /// The headers to translate by.
        package var packet: IPPacket?

        init(_ decision: Decision) { self.decision = decision }
    }

    /// Decides about a frame at a time of a monotonic clock, in nanoseconds.
    ///
    /// `ask` asks connection tracking about a flow, in either direction. It is called at most once a
    /// second for the same flow, and has to answer within a bound.
    package mutating func settle(
        _ frame: RawSpan, isEgress: Bool, at point: ObservationPoint, now: UInt64,
        ask: (FlowKey) -> TrackedAnswer
    ) -> Verdict {
        var headers = Headers(frame)
        if headers.packet?.fragment != nil { followFragment(&headers, now) }
        let decision = rule.decision(on: headers, in: frame, isEgress: isEgress, at: point)
        guard decision == .refuse(.serviceForm), let packet = headers.packet else {
            return Verdict(decision)
        }
        counts.services += 1
        return service(packet, in: frame, isEgress: isEgress, now: now, ask: ask)
    }

    /// Remembers what an event of connection tracking says.
    package mutating func learn(_ flow: TrackedFlow, now: UInt64) {
        flows.set(flow, for: flow.original, now: now)
        services.learn(flow, isPod: rule.surroundings.isPod(flow.reply.source), now: now)
    }

    /// Step 7: all pieces of a datagram have the ports of the first one.
    private mutating func followFragment(_ headers: inout Headers, _ now: UInt64) {
        guard let packet = headers.packet, let fragment = packet.fragment else { return }
        counts.fragments += 1
        let key = FragmentKey(
            source: packet.source, destination: packet.destination,
            identification: fragment.identification)
        if let ports = packet.firstFragmentPorts {
            fragments.set(ports, for: key, now: now)
            headers.packet?.ports = ports
        } else {
            headers.packet?.ports = fragments.value(for: key, now: now)
        }
    }
}

extension Settler {
    /// Step 4: one end is a service address, or the packet that an ICMP error quotes has one.
    private mutating func service(
        _ packet: IPPacket, in frame: RawSpan, isEgress: Bool, now: UInt64,
        ask: (FlowKey) -> TrackedAnswer
    ) -> Verdict {
        // An ICMP error belongs to the flow of the packet that it quotes, which went the other way.
        let quoted = packet.quoted(in: frame)
        let key = quoted.map { FlowKey($0).reversed } ?? FlowKey(packet)
        switch find(key, now, ask) {
        case .tracked(let flow):
            return serviceForm(of: flow, key, packet, isEgress: isEgress)
        case .unavailable: return Verdict(.refuse(.serviceForm))
        case .unknown:
            counts.unexplained += 1
            return unexplained(key, isEgress: isEgress, now)
        }
    }

    private mutating func find(
        _ key: FlowKey, _ now: UInt64, _ ask: (FlowKey) -> TrackedAnswer
    ) -> TrackedAnswer {
        let reversed = key.reversed
        if let flow = flows.value(for: key, now: now) ?? flows.value(for: reversed, now: now) {
            return .tracked(flow)
        }
        guard unknown.value(for: key, now: now) == nil else { return .unknown }
        counts.questions += 1
        let answer = ask(key)
        if case .tracked(let flow) = answer {
            learn(flow, now: now)
        } else {
            unknown.set(true, for: key, now: now)
        }
        return answer
    }

    private mutating func serviceForm(
        of flow: TrackedFlow, _ key: FlowKey, _ packet: IPPacket, isEgress: Bool
    ) -> Verdict {
        let backend = flow.reply.source
        guard flow.isTranslated, rule.surroundings.isPod(backend) else {
            return Verdict(.report(.serviceWithoutPod))
        }
        guard !flow.isMasqueraded else { return Verdict(.refuse(.masqueraded)) }
        // The pod form of this direction: the service's end becomes the backend.
        let isRequest = key == flow.original
        let form = isRequest ? flow.reply.reversed : flow.reply
        let isIngress = !isEgress
        // An ICMP error goes against the direction of the flow whose key it has been given.
        let observed = Rule.lowerEnd(of: form)
        let client = flow.original.source
        let isObserved = observed == client
        // At this edge the pod is the client: the other end is the service.
        let isClientsEdge = isIngress ? packet.source == client : packet.destination == client
        guard isObserved, isClientsEdge else { return Verdict(.refuse(.serviceForm)) }
        var verdict = Verdict(.report(.podForm))
        verdict.translation = Translation(
            of: flow.original.destination, port: flow.original.destinationPort, to: backend,
            newPort: flow.reply.sourcePort)
        verdict.packet = packet
        counts.translated += 1
        return verdict
    }

    /// Neither an event nor a question has explained the flow. Where its service is known, the
    /// highest port of its backends stands in for the one.
    private mutating func unexplained(
        _ key: FlowKey, isEgress: Bool, _ now: UInt64
    ) -> Verdict {
        let isRequest = rule.surroundings.isService(key.destination)
        let request = isRequest ? key : key.reversed
        if let port = services.highestBackendPort(of: request, now: now),
            request.sourcePort > port
        {
            return Verdict(.refuse(.serviceForm))
        }
        return Verdict(.report(.unexplainedService))
    }
}
