package import Addressing
package import Packets
package import Time

/// The rule's slow path: decides about every frame that an edge's program punts.
///
/// Programs punt fragments, group frames, extension headers, ICMP errors, requests and their answers,
/// service forms, and frames that are cut short. The slow path remembers what later packets need: translations, services, and
/// the ports of fragmented datagrams. All tables are bounded. It does no input or output: if
/// connection tracking has to be asked, `decide` returns `.lookUp`; the caller asks, calls `learn`,
/// and calls `decide` again. One forwarder owns it, so there is no lock.
package struct SlowPath: Sendable {
    package var rule: Rule
    package private(set) var services = ServiceTable()
    private var flows = BoundedTable<FlowKey, Backend>(
        countMax: flowCountMax, age: flowAge)
    /// Flows that were looked up in vain, so that they are not looked up again at once.
    private var negativeEntries = BoundedTable<FlowKey, NegativeEntry>(
        countMax: negativeEntryCountMax, age: negativeAge)
    private var remotePods = RemotePods()
    private var datagrams = DatagramTable()

    /// Room for six seconds of 10,000 new flows a second, about 100 bytes each.
    ///
    /// A flow that was evicted is looked up again.
    package static let flowCountMax = 65_536
    static let flowAge = Duration.seconds(120)
    static let negativeEntryCountMax = 8192
    /// The least time between two lookups of one flow.
    static let negativeAge = Duration.seconds(1)
    /// The delay before a lookup that could not be made is tried again.
    static let retryDelay = Duration.milliseconds(100)
    /// Room for fragmented datagrams under way; the kernel itself holds 4 MiB of fragments.
    package static let datagramCountMax = 8192

    /// Flows learned before this time have to be looked up again.
    ///
    /// Events were lost then, so another flow may have taken over the same addresses and ports.
    private var invalidBefore = MonotonicTime.zero

    /// The backend that stands behind a service in one flow.
    private struct Backend: Sendable {
        let flow: TrackedFlow
        let learnedAt: MonotonicTime
    }

    /// A flow that connection tracking did not know, or could not be asked about.
    private struct NegativeEntry: Sendable {
        let retryAt: MonotonicTime
        let isUnavailable: Bool
        /// Whether connection tracking was asked, and no events were lost before.
        let isSurelyUnknown: Bool
    }

    package init(_ rule: Rule) {
        self.rule = rule
    }

    /// The number of flows that were evicted because the table was full, not because of their age.
    package var evictedFlowCount: UInt64 { flows.evictedCount }
    package var flowCount: Int { flows.count }
    package var datagramCount: Int { datagrams.count }

    /// What the caller has to do next about a frame.
    package enum Step: Equatable, Sendable {
        case decided(Outcome)
        /// Look this flow towards a service up in connection tracking, pass the result to `learn`,
        /// and call `decide` again.
        case lookUp(FlowKey)
        /// Hold this fragment: the first fragment of its datagram has not come yet.
        case hold(EdgeDatagram)
    }

    /// The decision about a frame, and how to change the frame before it is sent.
    package struct Outcome: Equatable, Sendable {
        package let decision: Decision
        package var translation: Translation?
        package var isFragment: Bool
        /// The datagram whose first fragment this is: fragments held for it can go on.
        package var firstFragmentOf: EdgeDatagram?
        /// The part that the packet has in a request.
        package var requestPart: RequestPart?

        package init(
            decision: Decision, translation: Translation? = nil, isFragment: Bool = false,
            firstFragmentOf: EdgeDatagram? = nil, requestPart: RequestPart? = nil
        ) {
            self.decision = decision
            self.translation = translation
            self.isFragment = isFragment
            self.firstFragmentOf = firstFragmentOf
            self.requestPart = requestPart
        }
    }

    /// Decides about a frame, or says what has to happen before it can.
    ///
    /// If a fragment may not be held until the first one of its datagram comes, it counts as a
    /// packet without ports.
    ///
    /// - Parameters:
    ///   - frame: The frame's bytes.
    ///   - direction: The direction at the edge.
    ///   - point: The edge.
    ///   - now: The time now.
    ///   - mayHold: Whether a fragment may be held.
    ///   - waited: The time for which a fragment has been held already.
    /// - Returns: The decision, or what the caller has to do before it calls again.
    package mutating func decide(
        _ frame: RawSpan, direction: Direction, at point: ObservationPoint, now: MonotonicTime,
        mayHold: Bool = false, waited: Duration = .zero
    ) -> Step {
        var headers = Headers(frame)
        guard let fragment = headers.packet?.fragment, let key = headers.packet?.datagram else {
            return decide(headers, in: frame, direction: direction, at: point, now)
        }
        let datagram = EdgeDatagram(key, atEdge: point.interfaceIndex, direction)
        let mayWait = resolvePorts(of: &headers, fragment, in: datagram, now)
        if mayHold, mayWait {
            let decision = decideByRule(headers, in: frame, direction, at: point, now)
            if decision.step == .observedEnd || decision.step == .serviceForm {
                return .hold(datagram)
            }
        }
        let step = decide(headers, in: frame, direction: direction, at: point, now)
        guard case .decided(var outcome) = step else { return step }
        outcome.isFragment = true
        // A fragment that is the first and the last is whole, and no part of others (RFC 6946).
        guard fragment.byteOffset > 0 || !fragment.isLast else { return .decided(outcome) }
        datagrams.add(
            fragment, headers.packet?.firstFragmentPorts, to: datagram, waited: waited, now: now)
        if fragment.byteOffset == 0 { outcome.firstFragmentOf = datagram }
        return .decided(outcome)
    }

    /// Decides about a frame whose packet has the ports that it will have.
    private mutating func decide(
        _ headers: Headers, in frame: RawSpan, direction: Direction, at point: ObservationPoint,
        _ now: MonotonicTime
    ) -> Step {
        let decision = decideByRule(headers, in: frame, direction, at: point, now)
        guard decision == .refuse(.serviceForm), let packet = headers.packet else {
            return .decided(
                Outcome(
                    decision: decision,
                    requestPart: requestPart(of: headers.packet, decision, direction)))
        }
        return decideServiceForm(packet, in: frame, direction: direction, now)
    }

    /// Decides by the rule, which is told whether a pod of another node sent the frame.
    private mutating func decideByRule(
        _ headers: Headers, in frame: RawSpan, _ direction: Direction, at point: ObservationPoint,
        _ now: MonotonicTime
    ) -> Decision {
        let isFromRemotePod =
            direction == .toPod && point.hasOtherPorts
            && remotePods.recognizes(
                headers, in: frame, at: point, rule.addressPlan, now: now)
        return rule.decision(
            on: headers, in: frame, direction: direction, at: point,
            isFromRemotePod: isFromRemotePod)
    }

    /// Looks at who sent a frame that the kernel has decided about.
    package mutating func lookAtSender(
        of frame: RawSpan, at point: ObservationPoint, now: MonotonicTime
    ) {
        _ = remotePods.recognizes(
            Headers(frame), in: frame, at: point, rule.addressPlan, now: now)
    }

    /// Step 8, requests: the part of a packet between two pods that is not translated.
    private func requestPart(
        of packet: IPPacket?, _ decision: Decision, _ direction: Direction
    ) -> RequestPart? {
        guard decision.step == .observedEnd, let packet, packet.opening != nil else { return nil }
        // The edge's pod is the source of what it sends; its edge reports if it is the observed end.
        return RequestPart(
            packet.opening, of: FlowKey(packet),
            isFromObservedEnd: decision.isReported == (direction == .fromPod),
            direction: direction)
    }

    /// Step 7, fragments: gives a fragment the ports of its datagram's first fragment.
    ///
    /// - Returns: Whether a first fragment that has not come yet may have others.
    private func resolvePorts(
        of headers: inout Headers, _ fragment: IPPacket.Fragment, in datagram: EdgeDatagram,
        _ now: MonotonicTime
    ) -> Bool {
        switch datagrams.place(of: fragment, in: datagram, now: now) {
        case .first:
            let ports = headers.packet?.firstFragmentPorts
            headers.packet?.ports = ports
            return false
        case .later(let ports):
            headers.packet?.ports = ports
            return false
        case .beforeFirst: break
        case .again(let ports): headers.packet?.ports = ports
        }
        return headers.packet?.mayHavePorts == true
    }
}

extension SlowPath {
    /// Stores a flow that connection tracking has reported.
    package mutating func learn(_ flow: TrackedFlow, now: MonotonicTime) {
        flows.set(Backend(flow: flow, learnedAt: now), for: flow.original, now: now)
        services.learn(flow, isPod: rule.addressPlan.isPod(flow.reply.source), now: now)
    }

    /// Stores the result of a lookup that `decide` asked for.
    package mutating func learn(_ result: LookupResult, about flow: FlowKey, now: MonotonicTime) {
        var isUnavailable = false
        // While events are lost, the entry of a refused connection comes and goes unseen.
        var isSurelyUnknown = invalidBefore + Self.negativeAge < now || invalidBefore == .zero
        var delay = Self.negativeAge
        switch result {
        case .tracked(let found) where found.original == flow: return learn(found, now: now)
        // Another flow whose reply has the same addresses and ports is no call to a service.
        case .tracked, .notFound: break
        case .notAsked:
            delay = Self.retryDelay
            isSurelyUnknown = false
        case .unavailable:
            isUnavailable = true
            isSurelyUnknown = false
        }
        negativeEntries.set(
            NegativeEntry(
                retryAt: now + delay, isUnavailable: isUnavailable,
                isSurelyUnknown: isSurelyUnknown), for: flow, now: now)
    }

    /// Marks all flows learned before a time as stale, because events were lost.
    ///
    /// A stale flow is looked up again. Until that succeeds, it counts.
    package mutating func invalidate(before time: MonotonicTime) {
        invalidBefore = time
    }

    /// Whether a flow is known and not stale, so that it need not be looked up.
    package func isCurrent(_ flow: FlowKey, now: MonotonicTime) -> Bool {
        flows.value(for: flow, now: now).map { $0.learnedAt >= invalidBefore } ?? false
    }

    /// Returns the flow of a call, if it is known; it ages as if nobody had asked.
    func knownFlow(_ call: FlowKey, now: MonotonicTime) -> TrackedFlow? {
        flows.value(for: call, now: now)?.flow
    }

    /// Step 4, service form: decides about a packet with a service address at one end.
    ///
    /// An ICMP error belongs here if the packet that it quotes has a service address.
    private mutating func decideServiceForm(
        _ packet: IPPacket, in frame: RawSpan, direction: Direction, _ now: MonotonicTime
    ) -> Step {
        // An ICMP error follows the flow of the packet that it quotes, which went the other way.
        let quoted = packet.quoted(in: frame)
        let key = quoted.map { FlowKey($0).reversed } ?? FlowKey(packet)
        let request = rule.addressPlan.isService(key.destination) ? key : key.reversed
        // Requests to a service come from the pod, replies go to it. Anything else is forged.
        guard direction == (key == request ? .fromPod : .toPod) else {
            return .decided(Outcome(decision: .report(.unexplainedService)))
        }
        let backend = flows.touch(request, now: now)
        // Translation gives errors of nodes the service's address, as if the backend had sent them.
        let isOfNode = direction == .toPod && quoted.map(Self.isErrorOfNode) == true
        if let backend, backend.learnedAt >= invalidBefore {
            return .decided(
                outcome(ofKnown: backend.flow, packet.opening, direction, isOfNode: isOfNode, now))
        }
        // A fragment whose first fragment is missing does not show which flow to look up.
        let canBeLookedUp = packet.fragment == nil || packet.ports != nil || !packet.mayHavePorts
        let negative = negativeEntries.value(for: request, now: now)
        if canBeLookedUp, negative.map({ now >= $0.retryAt }) ?? true { return .lookUp(request) }
        if let backend {
            return .decided(
                outcome(ofKnown: backend.flow, packet.opening, direction, isOfNode: isOfNode, now))
        }
        var outcome = Outcome(decision: .refuse(.serviceForm))
        if negative?.isUnavailable != true { outcome = outcomeOfUnknown(request, now) }
        outcome.requestPart = requestPart(
            ofUnknown: request, packet.opening, outcome.decision, direction,
            isSurelyUnknown: negative?.isSurelyUnknown == true)
        return .decided(outcome)
    }

    private mutating func outcome(
        ofKnown flow: TrackedFlow, _ opening: Opening?, _ direction: Direction, isOfNode: Bool,
        _ now: MonotonicTime
    ) -> Outcome {
        var outcome = outcome(of: flow, opening, direction: direction, now)
        if outcome.requestPart == nil {
            outcome.requestPart = requestPart(ofAnswerTo: flow.original, opening, direction)
        }
        return isOfNode ? outcome.ofNode(Translation(flow)) : outcome
    }

    /// Whether a node has sent the ICMP error that quotes a packet.
    ///
    /// A pod's kernel answers a TCP segment that it does not want with a reset (RFC 9293, 3.5.2).
    private static func isErrorOfNode(_ quoted: IPPacket) -> Bool {
        quoted.transport == IPProtocol.tcp
    }

    /// Decides about a packet of a flow whose backend is known.
    private mutating func outcome(
        of flow: TrackedFlow, _ opening: Opening?, direction: Direction, _ now: MonotonicTime
    ) -> Outcome {
        let (client, backend) = (flow.original.source, flow.reply.source)
        let isPod = rule.addressPlan.isPod(backend)
        // Packets that came this far must not be dropped by a program.
        services.learn(flow, isPod: isPod, now: now)
        guard flow.isTranslated, isPod else {
            return Outcome(decision: .report(.serviceWithoutPod))
        }
        guard !flow.isMasqueraded else { return Outcome(decision: .refuse(.masqueraded)) }
        // If the client is no pod, the backend's edge reports (step 5).
        guard rule.addressPlan.isPod(client) else {
            return Outcome(decision: .refuse(.serviceForm))
        }
        let decision = rule.decision(
            from: direction == .toPod ? backend : client,
            to: direction == .toPod ? client : backend, direction: direction
        ) { Rule.lowerEnd(of: flow.reply) }
        let translation = Translation(flow)
        let isReported = decision.isReported && translation != nil
        var outcome = Outcome(
            decision: isReported ? .report(.podForm) : .refuse(.serviceForm))
        // What is held may be reported in its pod form as well.
        outcome.translation = translation
        if opening != nil, decision.step == .observedEnd {
            outcome.requestPart = requestPart(
                of: flow, opening, isReported: isReported, direction)
        }
        if !isReported, outcome.requestPart == nil { outcome.translation = nil }
        return outcome
    }

    /// Decides about a packet of a flow that connection tracking does not know.
    ///
    /// If its service is known, the highest port of its backends stands in for the backend's.
    private mutating func outcomeOfUnknown(_ request: FlowKey, _ now: MonotonicTime) -> Outcome {
        if let port = services.touchHighestBackendPort(of: request, now: now),
            request.sourcePort > port
        {
            return Outcome(decision: .refuse(.unexplainedService))
        }
        return Outcome(decision: .report(.unexplainedService))
    }
}

extension SlowPath.Outcome {
    /// The outcome for an ICMP error about the same flow that a node has sent.
    ///
    /// It takes the form in which the call is reported, unless nobody reports that call as a pod's.
    fileprivate func ofNode(_ translation: Translation?) -> Self {
        if decision.isReported { return self }
        return Self(
            decision: .report(.errorOfNode),
            translation: decision.step == .masqueraded ? nil : translation)
    }
}

/// The result of looking a flow up in connection tracking.
package enum LookupResult: Equatable, Sendable {
    case tracked(TrackedFlow)
    /// Connection tracking has no such flow at present.
    case notFound
    /// The lookup was not made this time: there were too many, or it failed.
    case notAsked
    /// Lookups are not possible: the right to make them, or connection tracking, is missing.
    case unavailable
}
