import Addressing
import Packets
import Time

/// Step 4, service form: calls to services, and to the fronts that are learned beside them.
extension SlowPath {
    /// A packet of a call that the node may translate, with what is not decided by the packet alone.
    struct Call {
        /// From the client to the service or front, whichever way the packet goes.
        let request: FlowKey
        /// The decision about the packet if its front turns out to be none; nil for a service.
        let otherwise: Decision?
        /// Whether the packet is an ICMP error that a node has sent.
        ///
        /// Translation gives such errors the service's address, as if the backend had sent them.
        let isErrorOfNode: Bool
        /// Whether the packet goes another way than requests and replies do.
        let isForged: Bool

        var isToFront: Bool { otherwise != nil }
    }

    /// Whether a packet may belong to a call to a front, by what is decided about it alone.
    ///
    /// Where a bridge hands packets to the node's filters (br_netfilter), it may translate the reply of
    /// a pod that it brings to another pod. That reply has the first pod's MAC address.
    static func mayBeThroughFront(_ decision: Decision) -> Bool {
        decision == .report(.oneEndIsNoPod) || decision == .refuse(.noPodFromPod)
    }

    /// Returns the call that a packet belongs to; nil if it turns on the packet alone.
    ///
    /// An ICMP error belongs to the call of the packet that it quotes.
    func call(
        _ packet: IPPacket, _ decision: Decision, in frame: RawSpan, _ direction: Direction
    ) -> Call? {
        let isToFront = Self.mayBeThroughFront(decision)
        if isToFront
            ? !fronts.hasAddress(calledBy: packet, direction) : decision != .refuse(.serviceForm)
        {
            return nil
        }
        // An ICMP error follows the flow of the packet that it quotes, which went the other way.
        let quoted = packet.quoted(in: frame)
        let key = quoted.map { FlowKey($0).reversed } ?? FlowKey(packet)
        let isErrorOfNode = direction == .toPod && quoted.map(Self.isErrorOfNode) == true
        if isToFront {
            guard let request = fronts.call(key, packet, direction),
                rule.addressPlan.isPod(request.source)
            else { return nil }
            return Call(
                request: request, otherwise: decision, isErrorOfNode: isErrorOfNode,
                isForged: false)
        }
        let request = rule.addressPlan.isService(key.destination) ? key : key.reversed
        // Requests to a service come from the pod, replies go to it. Anything else is forged.
        return Call(
            request: request, otherwise: nil, isErrorOfNode: isErrorOfNode,
            isForged: direction != (key == request ? .fromPod : .toPod))
    }

    /// Whether a node has sent the ICMP error that quotes a packet.
    ///
    /// A pod's kernel answers a TCP segment that it does not want with a reset (RFC 9293, 3.5.2).
    private static func isErrorOfNode(_ quoted: IPPacket) -> Bool {
        quoted.transport == IPProtocol.tcp
    }

    /// Decides about an ICMP error of a backend that quotes the pod form.
    ///
    /// Cilium gives such an error the service's address, and leaves what it quotes as it is.
    ///
    /// - Returns: nil if the packet is no such error.
    func outcome(ofHalfTranslated packet: IPPacket, in frame: RawSpan) -> Outcome? {
        let plan = rule.addressPlan
        guard plan.isService(packet.source), let quoted = packet.quoted(in: frame),
            quoted.source == packet.destination, plan.isPod(quoted.source),
            plan.isPod(quoted.destination), !plan.isService(quoted.destination)
        else { return nil }
        let error = FlowKey(packet)
        let decision = rule.decision(
            from: quoted.destination, to: quoted.source, direction: .toPod
        ) { Rule.lowerEnd(of: FlowKey(quoted)) }
        guard decision.isReported else { return Outcome(decision: .refuse(.serviceForm)) }
        let backend = FlowKey(
            transport: error.transport, source: quoted.destination, destination: error.destination,
            sourcePort: error.sourcePort, destinationPort: error.destinationPort)
        return Outcome(
            decision: .report(.podForm),
            translation: Translation(TrackedFlow(original: error.reversed, reply: backend)))
    }

    /// Decides about a packet of a call.
    mutating func decideServiceForm(
        _ packet: IPPacket, of call: Call, direction: Direction, _ now: MonotonicTime
    ) -> Step {
        if call.isForged { return .decided(Outcome(decision: .report(.unexplainedService))) }
        let request = call.request
        let backend = flows.touch(request, now: now)
        if let backend, !isOutdated(backend, packet, of: call, now) {
            noteReopening(of: backend, packet, call, now)
            return .decided(outcome(of: backend, packet.opening, call, direction, now))
        }
        // A fragment whose first fragment is missing does not show which flow to look up.
        let canBeLookedUp = packet.fragment == nil || packet.ports != nil || !packet.mayHavePorts
        let negative = negativeEntries.value(for: request, now: now)
        if canBeLookedUp, negative.map({ now >= $0.retryAt }) ?? true { return .lookUp(request) }
        if let backend {
            return .decided(outcome(of: backend, packet.opening, call, direction, now))
        }
        // Unlike a service, the address of a front calls pods itself.
        if let otherwise = call.otherwise, negative?.isReply == true || !otherwise.isReported {
            return .decided(Outcome(decision: otherwise))
        }
        var outcome = Outcome(decision: .refuse(.serviceForm))
        if negative?.isUnavailable != true {
            outcome = outcomeOfUnknown(call, now)
            if negative?.isAnswered == false { countAnswered(call, by: packet, direction) }
        }
        // Where what nothing explains is left out, its pod form is reported by other edges, asked and
        // answered.
        guard !refusesUnexplained || call.isToFront else { return .decided(outcome) }
        outcome.requestPart = requestPart(
            ofUnknown: request, packet.opening, outcome.decision, direction,
            isSurelyUnknown: negative?.isSurelyUnknown == true)
        return .decided(outcome)
    }

    /// Counts an unknown call that is answered: so it was translated, but not by connection tracking.
    ///
    /// What the node itself has at a service's address, such as a cache for DNS, needs no translation.
    /// And a reset may be the refusal of a service that has no backend.
    private mutating func countAnswered(
        _ call: Call, by packet: IPPacket, _ direction: Direction
    ) {
        guard direction == .toPod, !call.isToFront, packet.opening != .reset,
            packet.transport == call.request.transport,
            !rule.addressPlan.nodeAddresses.contains(call.request.destination)
        else { return }
        callCounts.unexplainedCount += 1
        negativeEntries.update(call.request) { $0.isAnswered = true }
    }

    /// Whether what is known of a packet's flow may have changed without an event.
    ///
    /// A flow without events may be another one if the client uses its port again, which shows in TCP
    /// alone. Of the others only flows through fronts lack events. So no event tells that a client uses
    /// its port again for a call that is not translated any more, or is masqueraded now.
    private func isOutdated(
        _ backend: Backend, _ packet: IPPacket, of call: Call, _ now: MonotonicTime
    ) -> Bool {
        guard backend.hasEvents else {
            let mayBeOther =
                call.request.transport != IPProtocol.tcp || backend.isReopened
                || packet.opening == .connectionRequest
            return mayBeOther && now - backend.learnedAt >= Self.silentFlowAge
        }
        if backend.learnedAt < invalidBefore { return true }
        guard call.isToFront, backend.flow.isThroughFront else { return false }
        let opens = packet.opening == .connectionRequest
        return now - backend.learnedAt >= (opens ? Self.openingAge : Self.frontFlowAge)
    }

    /// Notes that a client uses its port again within the time in which nobody is asked again.
    ///
    /// The first packet after that time asks.
    private mutating func noteReopening(
        of backend: Backend, _ packet: IPPacket, _ call: Call, _ now: MonotonicTime
    ) {
        guard !backend.hasEvents, !backend.isReopened, now > backend.learnedAt,
            packet.opening == .connectionRequest
        else { return }
        flows.update(call.request) { $0.isReopened = true }
    }

    /// Decides about a packet of a call whose backend is known.
    private mutating func outcome(
        of backend: Backend, _ opening: Opening?, _ call: Call, _ direction: Direction,
        _ now: MonotonicTime
    ) -> Outcome {
        let flow = backend.flow
        var outcome =
            call.otherwise.map { outcomeThroughFront(flow, opening, direction, otherwise: $0) }
            ?? outcomeThroughService(backend, opening, direction, now)
        if outcome.requestPart == nil {
            outcome.requestPart = requestPart(ofAnswerTo: flow.original, opening, direction)
        }
        // It takes the form in which the call is reported, unless nobody reports that as a pod's.
        guard call.isErrorOfNode, !outcome.decision.isReported,
            outcome.decision.step != .noPodFromPod
        else { return outcome }
        return Outcome(
            decision: .report(.errorOfNode),
            translation: outcome.decision.step == .masqueraded ? nil : Translation(flow))
    }

    private mutating func outcomeThroughService(
        _ known: Backend, _ opening: Opening?, _ direction: Direction, _ now: MonotonicTime
    ) -> Outcome {
        let flow = known.flow
        let (client, backend) = (flow.original.source, flow.reply.source)
        let isPod = rule.addressPlan.isPod(backend)
        // Packets that came this far must not be dropped by a program.
        services.learn(flow, isPod: isPod, hasEvents: known.hasEvents, now: now)
        guard flow.isTranslated, isPod else {
            return Outcome(decision: .report(.serviceWithoutPod))
        }
        guard !flow.isMasqueraded else { return Outcome(decision: .refuse(.masqueraded)) }
        // If the client is no pod, the backend's edge reports (step 5).
        guard rule.addressPlan.isPod(client) else {
            return Outcome(decision: .refuse(.serviceForm))
        }
        return outcomeInPodForm(flow, opening, direction)
    }

    /// Decides about a packet of a call to a front.
    ///
    /// A call that is not translated, is masqueraded, or ends elsewhere than at a pod is what it was
    /// before the front was known: one end is not a pod. The front is marked as used when the flow is
    /// looked up again.
    private func outcomeThroughFront(
        _ flow: TrackedFlow, _ opening: Opening?, _ direction: Direction, otherwise: Decision
    ) -> Outcome {
        guard flow.isThroughFront, rule.addressPlan.isPod(flow.reply.source),
            rule.addressPlan.isPod(flow.original.source)
        else { return Outcome(decision: otherwise) }
        return outcomeInPodForm(flow, opening, direction)
    }

    /// Applies step 6 to the form that the backend's edge sees.
    private func outcomeInPodForm(
        _ flow: TrackedFlow, _ opening: Opening?, _ direction: Direction
    ) -> Outcome {
        let (client, backend) = (flow.original.source, flow.reply.source)
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
    private mutating func outcomeOfUnknown(_ call: Call, _ now: MonotonicTime) -> Outcome {
        let highestPort =
            call.isToFront
            ? fronts.touchHighestBackendPort(of: call.request, now: now)
            : services.touchHighestBackendPort(of: call.request, now: now)
        if let highestPort, call.request.sourcePort > highestPort {
            return Outcome(decision: .refuse(.unexplainedService))
        }
        if refusesUnexplained, !call.isToFront {
            return Outcome(decision: .refuse(.unexplainedService))
        }
        return Outcome(decision: .report(.unexplainedService))
    }
}
