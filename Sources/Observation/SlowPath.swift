package import Addressing
package import Packets
package import Time

/// The rule's slow path: decides about every frame that an edge's program punts.
///
/// Programs punt fragments, group frames, extension headers, ICMP errors, requests and their answers,
/// service forms, calls to fronts, and frames that are cut short. The slow path remembers what later
/// packets need: translations, services, fronts, and the ports of fragmented datagrams. All tables
/// are bounded. It does no input or output: if connection tracking has to be asked, `decide` returns
/// `.lookUp`; the caller asks, calls `learn`, and calls `decide` again. One forwarder owns it, so
/// there is no lock.
package struct SlowPath: Sendable {
    package var rule: Rule
    package internal(set) var services = ServiceTable()
    /// What else than services this node translates to pods.
    package internal(set) var fronts = FrontTable()
    var flows = BoundedTable<FlowKey, Backend>(
        countMax: flowCountMax, age: flowAge)
    /// Flows that were looked up in vain, so that they are not looked up again at once.
    var negativeEntries = BoundedTable<FlowKey, NegativeEntry>(
        countMax: negativeEntryCountMax, age: negativeAge)
    private var remotePods = RemotePods()
    private var datagrams = DatagramTable()

    /// Room for six seconds of 10,000 new flows a second, about 100 bytes each.
    ///
    /// A flow that was evicted is looked up again.
    package static let flowCountMax = 65_536
    static let flowAge = Duration.seconds(120)
    /// The age at which a flow through a front is looked up again: a lookup a second for each.
    ///
    /// What has changed since then is reported as before for as long.
    static let frontFlowAge = Duration.seconds(1)
    /// The same if a packet opens a connection, which may be another one than before.
    ///
    /// The event of a new connection is mostly read before its first packet, and not long before.
    static let openingAge = Duration.milliseconds(100)
    /// The age at which a flow that has no events is looked up again, if it may be another one by now.
    static let silentFlowAge = Duration.seconds(1)
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
    private(set) var invalidBefore = MonotonicTime.zero

    /// The calls to services so far, by whether their backends were known.
    package internal(set) var callCounts = CallCounts()
    /// Whether calls to services that nothing explains are refused (`--services untracked`).
    package var refusesUnexplained = false
    /// Whether the ports of a fragment are needed whatever the decision.
    package var needsPorts = false

    /// The backend that stands behind a service in one flow.
    struct Backend: Sendable {
        let flow: TrackedFlow
        let learnedAt: MonotonicTime
        /// Whether an event would tell if the flow became another one.
        ///
        /// Connection tracking has events, and the tables of a network plug-in have none.
        var hasEvents = true
        /// Whether a connection was opened too soon after this was learned to ask again.
        var isReopened = false
    }

    /// A flow that connection tracking did not know, or could not be asked about.
    struct NegativeEntry: Sendable {
        let retryAt: MonotonicTime
        let isUnavailable: Bool
        /// Whether connection tracking was asked, and no events were lost before.
        let isSurelyUnknown: Bool
        /// Whether the addresses and ports are those of a flow that began at the other end.
        var isReply = false
        /// Whether the call was answered, and counted for that.
        var isAnswered = false
    }

    package init(_ rule: Rule) {
        self.rule = rule
    }

    /// The number of flows that were evicted because the table was full, not because of their age.
    package var evictedFlowCount: UInt64 { flows.evictedCount }

    /// The number of fragmented packets that were evicted like that.
    package var evictedDatagramCount: UInt64 { datagrams.evictedCount }

    /// The number of MAC addresses of other nodes' pods that were evicted like that.
    package var evictedRemotePodCount: UInt64 { remotePods.evictedCount }
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
        /// The ports of a fragment's datagram, if they are known.
        package var ports: IPPacket.Ports?

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
    ///   - isToPodItself: Whether the kernel has said that the frame is addressed to the pod's
    ///     interface, as it does inside the pod.
    ///   - now: The time now.
    ///   - mayHold: Whether a fragment may be held.
    ///   - waited: The time for which a fragment has been held already.
    /// - Returns: The decision, or what the caller has to do before it calls again.
    package mutating func decide(
        _ frame: RawSpan, direction: Direction, at point: ObservationPoint,
        isToPodItself: Bool = false, now: MonotonicTime, mayHold: Bool = false,
        waited: Duration = .zero
    ) -> Step {
        var headers = Headers(frame)
        guard let fragment = headers.packet?.fragment, let key = headers.packet?.datagram else {
            return decide(
                headers, in: frame, direction: direction, at: point, isToPodItself, now)
        }
        let datagram = EdgeDatagram(key, atEdge: point.interfaceIndex, direction)
        let mayWait = resolvePorts(of: &headers, fragment, in: datagram, now)
        if mayHold, mayWait {
            let decision = decideByRule(
                headers, in: frame, direction, at: point, isToPodItself, now)
            if dependsOnPorts(decision, of: headers.packet) { return .hold(datagram) }
        }
        let step = decide(
            headers, in: frame, direction: direction, at: point, isToPodItself, now)
        guard case .decided(var outcome) = step else { return step }
        outcome.isFragment = true
        outcome.ports = headers.packet?.ports
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
        _ isToPodItself: Bool, _ now: MonotonicTime
    ) -> Step {
        let decision = decideByRule(headers, in: frame, direction, at: point, isToPodItself, now)
        if decision == .refuse(.serviceForm), direction == .toPod, let packet = headers.packet,
            let outcome = outcome(ofHalfTranslated: packet, in: frame)
        {
            return .decided(outcome)
        }
        guard let packet = headers.packet,
            let call = call(packet, decision, in: frame, direction)
        else {
            return .decided(
                Outcome(
                    decision: decision,
                    requestPart: requestPart(of: headers.packet, decision, direction)))
        }
        return decideServiceForm(packet, of: call, direction: direction, now)
    }

    /// Decides by the rule, which is told whether a pod of another node sent the frame.
    private mutating func decideByRule(
        _ headers: Headers, in frame: RawSpan, _ direction: Direction, at point: ObservationPoint,
        _ isToPodItself: Bool, _ now: MonotonicTime
    ) -> Decision {
        let isFromRemotePod =
            direction == .toPod && point.hasOtherPorts
            && remotePods.recognizes(
                headers, in: frame, at: point, rule.addressPlan, now: now)
        return rule.decision(
            on: headers, in: frame, direction: direction, at: point,
            isToPodItself: isToPodItself, isFromRemotePod: isFromRemotePod)
    }

    /// Whether a fragment's ports may show another decision than the one made without them.
    private func dependsOnPorts(_ decision: Decision, of packet: IPPacket?) -> Bool {
        if needsPorts || decision.step == .observedEnd || decision.step == .serviceForm {
            return true
        }
        guard Self.mayBeThroughFront(decision), let packet else { return false }
        return fronts.hasAddress(of: packet)
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
    ///
    /// Flows that go neither to a service nor to a front are left out.
    package mutating func learn(_ flow: TrackedFlow, now: MonotonicTime) {
        if rule.addressPlan.isService(flow.original.destination) {
            callCounts.knownCount += 1
            learn(toService: flow, now: now)
        } else if fronts.learn(flow, rule.addressPlan, now: now) {
            store(flow, now: now)
        }
    }

    /// Stores a flow to a service, which is not counted as a call.
    mutating func learn(toService flow: TrackedFlow, now: MonotonicTime) {
        services.learn(flow, isPod: rule.addressPlan.isPod(flow.reply.source), now: now)
        store(flow, now: now)
    }

    mutating func store(_ flow: TrackedFlow, hasEvents: Bool = true, now: MonotonicTime) {
        flows.set(
            Backend(flow: flow, learnedAt: now, hasEvents: hasEvents), for: flow.original, now: now)
    }

    /// Stores the result of a lookup that `decide` asked for.
    package mutating func learn(_ result: LookupResult, about flow: FlowKey, now: MonotonicTime) {
        var isUnavailable = false
        // While events are lost, the entry of a refused connection comes and goes unseen.
        var isSurelyUnknown = invalidBefore + Self.negativeAge < now || invalidBefore == .zero
        var delay = Self.negativeAge
        var isReply = false
        switch result {
        case .tracked(let found) where found.original == flow:
            learn(found, now: now)
            // What only shares its address with a front is not looked up again either.
            return store(found, now: now)
        // Another flow whose reply has the same addresses and ports is no call to a service.
        case .tracked:
            isReply = true
            flows.remove(flow)
        case .foundWithoutEvents(let found):
            callCounts.knownCount += 1
            return store(found, hasEvents: false, now: now)
        case .notFound:
            // No event has told that the flow is gone.
            if flows.value(for: flow, now: now)?.hasEvents == false { flows.remove(flow) }
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
                isSurelyUnknown: isSurelyUnknown, isReply: isReply), for: flow, now: now)
    }

    /// Marks all flows learned before a time as stale, because events were lost.
    ///
    /// A stale flow is looked up again. Until that succeeds, it counts.
    package mutating func invalidate(before time: MonotonicTime) {
        invalidBefore = time
    }

    /// Whether an event has just told of a flow that `decide` needs, so that it need not be looked up.
    package func isCurrent(_ flow: FlowKey, now: MonotonicTime) -> Bool {
        guard let known = flows.value(for: flow, now: now) else { return false }
        guard known.hasEvents else { return now - known.learnedAt < Self.silentFlowAge }
        return known.learnedAt >= invalidBefore
            && (!known.flow.isThroughFront || now - known.learnedAt < Self.openingAge)
    }

    /// Whether anything is known of a flow, be it out of date.
    package func knows(_ flow: FlowKey, now: MonotonicTime) -> Bool {
        flows.value(for: flow, now: now) != nil
    }

    /// Returns the flow of a call, if it is known; it ages as if nobody had asked.
    func knownFlow(_ call: FlowKey, now: MonotonicTime) -> TrackedFlow? {
        flows.value(for: call, now: now)?.flow
    }
}

/// How many calls to services had a known backend, each counted again when it is looked up again.
package struct CallCounts: Equatable, Sendable {
    /// Calls whose backend connection tracking, or a network plug-in's table, has told.
    package internal(set) var knownCount: UInt64 = 0
    /// Calls that were answered though nobody knew their backend, at most once a second for each.
    package internal(set) var unexplainedCount: UInt64 = 0

    package init(knownCount: UInt64 = 0, unexplainedCount: UInt64 = 0) {
        (self.knownCount, self.unexplainedCount) = (knownCount, unexplainedCount)
    }

    package var count: UInt64 { knownCount + unexplainedCount }
}

/// The result of looking a flow up in connection tracking, or in a network plug-in's tables.
package enum LookupResult: Equatable, Sendable {
    case tracked(TrackedFlow)
    /// A table has the flow from which no events come when it changes.
    case foundWithoutEvents(TrackedFlow)
    /// Nobody has such a flow at present.
    case notFound
    /// The lookup was not made this time: there were too many, or it failed.
    case notAsked
    /// Lookups are not possible: the right to make them, or connection tracking, is missing.
    case unavailable
}
