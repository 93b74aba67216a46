package import Addressing
package import Packets

/// Settles what the kernel's form of the rule leaves open: the one place for fragments, group
/// frames, extension headers, ICMP errors, service forms, and what is cut short.
///
/// It remembers what later packets need: translations, services, and the ports of datagrams that
/// come in pieces. All of it is bounded. It does no input or output: where it has to know what
/// connection tracking knows it says so, is told, and is asked again. It belongs to one forwarder,
/// so there is no lock. Times are nanoseconds of a monotonic clock.
package struct Settler: Sendable {
    package var rule: Rule
    package private(set) var services = ServiceTable()
    private var flows = BoundedTable<FlowKey, Backend>(
        countMax: flowCountMax, ageNanoseconds: flowAgeNanoseconds)
    /// Flows that were asked about without success, so that nobody asks again at once.
    private var absences = BoundedTable<FlowKey, Absence>(
        countMax: absenceCountMax, ageNanoseconds: absenceAgeNanoseconds)
    private var datagrams = BoundedTable<DatagramKey, IPPacket.Ports?>(
        countMax: datagramCountMax, ageNanoseconds: datagramAgeNanoseconds)

    /// Six seconds of 10,000 new flows a second; one that is forgotten is asked about again. An
    /// entry takes about 100 bytes.
    package static let flowCountMax = 65_536
    static let flowAgeNanoseconds: UInt64 = 120_000_000_000
    static let absenceCountMax = 8192
    /// The least time between two questions about one flow.
    static let absenceAgeNanoseconds: UInt64 = 1_000_000_000
    /// How soon a question is put again that could not be asked.
    static let delayNanoseconds: UInt64 = 100_000_000
    /// Datagrams in pieces that are under way at once; the kernel's own bound is 4 MiB of them.
    package static let datagramCountMax = 8192
    /// The kernel gives up on a datagram after 30 seconds (`ipfrag_time`).
    static let datagramAgeNanoseconds: UInt64 = 30_000_000_000

    /// Flows learned before this time may have been followed by others with the same addresses and
    /// ports, since events were lost then.
    private var doubtedUntil: UInt64 = 0

    /// Who answers for a service in one flow.
    private struct Backend: Sendable {
        let flow: TrackedFlow
        let learnedAt: UInt64
    }

    /// That a flow was asked about, and not found.
    private struct Absence: Sendable {
        let askAgainAt: UInt64
        let isUnavailable: Bool
    }

    package init(_ rule: Rule) {
        self.rule = rule
    }

    /// Flows given up because there were too many, and not because of their age.
    package var evictedFlowCount: UInt64 { flows.evictedCount }
    package var flowCount: Int { flows.count }
    package var datagramCount: Int { datagrams.count }

    /// What is to be done about a frame.
    package enum Outcome: Equatable, Sendable {
        case verdict(Verdict)
        /// Ask connection tracking about this flow, towards the service, give the answer to
        /// `answer`, and ask again about the frame.
        case question(FlowKey)
        /// A piece of a datagram whose first piece has not come yet. Keep it for a while.
        case wait(DatagramKey)
    }

    /// What becomes of a frame, and how it is to be changed first.
    package struct Verdict: Equatable, Sendable {
        package let decision: Decision
        package var translation: Translation?
        package var isFragment: Bool
        /// The datagram whose first piece this was: what has waited for it need not wait on.
        package var begins: DatagramKey?

        package init(
            decision: Decision, translation: Translation? = nil, isFragment: Bool = false,
            begins: DatagramKey? = nil
        ) {
            self.decision = decision
            self.translation = translation
            self.isFragment = isFragment
            self.begins = begins
        }
    }

    /// Decides about a frame. A piece that comes before the first one of its datagram waits for
    /// that, if it may; otherwise it counts as a packet without ports.
    package mutating func settle(
        _ frame: RawSpan, isEgress: Bool, at point: ObservationPoint, now: UInt64,
        mayWait: Bool = false
    ) -> Outcome {
        var headers = Headers(frame)
        var begins: DatagramKey?
        var lacksFirst = false
        if let datagram = headers.packet?.datagram {
            (begins, lacksFirst) = follow(datagram, &headers, now)
        }
        let decision = rule.decision(on: headers, in: frame, isEgress: isEgress, at: point)
        if lacksFirst, mayWait, decision.step == .observedEnd || decision.step == .serviceForm,
            let datagram = headers.packet?.datagram
        {
            return .wait(datagram)
        }
        guard decision == .refuse(.serviceForm), let packet = headers.packet else {
            let isFragment = headers.packet?.fragment != nil
            return .verdict(Verdict(decision: decision, isFragment: isFragment, begins: begins))
        }
        switch service(packet, in: frame, isEgress: isEgress, now) {
        case .verdict(var verdict):
            verdict.isFragment = packet.fragment != nil
            verdict.begins = begins
            return .verdict(verdict)
        case let other: return other
        }
    }

    /// Step 7: all pieces of a datagram have the ports of the first one. Answers which datagram
    /// begins with this piece, and whether that is still to come.
    private mutating func follow(
        _ datagram: DatagramKey, _ headers: inout Headers, _ now: UInt64
    ) -> (begins: DatagramKey?, lacksFirst: Bool) {
        guard let packet = headers.packet, let fragment = packet.fragment else {
            return (nil, false)
        }
        if fragment.byteOffset == 0 {
            datagrams.set(packet.firstFragmentPorts, for: datagram, now: now)
            headers.packet?.ports = packet.firstFragmentPorts
            return (datagram, false)
        }
        guard let ports = datagrams.value(for: datagram, now: now) else {
            return (nil, packet.mayHavePorts)
        }
        headers.packet?.ports = ports
        return (nil, false)
    }
}

extension Settler {
    /// Remembers what an event of connection tracking says.
    package mutating func learn(_ flow: TrackedFlow, now: UInt64) {
        flows.set(Backend(flow: flow, learnedAt: now), for: flow.original, now: now)
        services.learn(flow, isPod: rule.addressPlan.isPod(flow.reply.source), now: now)
    }

    /// Takes note that events were lost: what is known is to be asked about anew.
    package mutating func doubt(now: UInt64) {
        doubtedUntil = now
    }

    /// Takes the answer to a question.
    package mutating func answer(_ answer: TrackedAnswer, to question: FlowKey, now: UInt64) {
        var isUnavailable = false
        var delay = Self.absenceAgeNanoseconds
        switch answer {
        case .tracked(let flow) where flow.original == question: return learn(flow, now: now)
        // Something else that looks alike from the other end is no call to a service.
        case .tracked, .unknown: break
        case .notAsked: delay = Self.delayNanoseconds
        case .unavailable: isUnavailable = true
        }
        absences.set(
            Absence(askAgainAt: now + delay, isUnavailable: isUnavailable), for: question, now: now)
    }

    /// Whether nothing needs to be asked about a flow, as an event has told in the meantime.
    package mutating func knows(_ question: FlowKey, now: UInt64) -> Bool {
        flows.value(for: question, now: now).map { $0.learnedAt >= doubtedUntil } ?? false
    }

    /// Step 4: one end is a service address, or the packet that an ICMP error quotes has one.
    private mutating func service(
        _ packet: IPPacket, in frame: RawSpan, isEgress: Bool, _ now: UInt64
    ) -> Outcome {
        // An ICMP error belongs to the flow of the packet that it quotes, which went the other way.
        let key = packet.quoted(in: frame).map { FlowKey($0).reversed } ?? FlowKey(packet)
        let request = rule.addressPlan.isService(key.destination) ? key : key.reversed
        // A service is called from the pod, and answers to it. Anything else is made up.
        guard (key == request) != isEgress else {
            return .verdict(Verdict(decision: .report(.unexplainedService)))
        }
        let backend = flows.value(for: request, now: now)
        if let backend, backend.learnedAt >= doubtedUntil {
            return .verdict(verdict(backend.flow, isEgress: isEgress, now))
        }
        // A piece without its first one does not say which flow to ask about.
        let canBeAsked = packet.fragment == nil || packet.ports != nil || !packet.mayHavePorts
        let absence = absences.peek(request, now: now)
        if canBeAsked, absence.map({ now >= $0.askAgainAt }) ?? true { return .question(request) }
        if let backend { return .verdict(verdict(backend.flow, isEgress: isEgress, now)) }
        if absence?.isUnavailable == true {
            return .verdict(Verdict(decision: .refuse(.serviceForm)))
        }
        return .verdict(unexplained(request, now))
    }

    /// The verdict about a call whose backend is known, or about what comes back.
    private mutating func verdict(
        _ flow: TrackedFlow, isEgress: Bool, _ now: UInt64
    ) -> Verdict {
        let (client, backend) = (flow.original.source, flow.reply.source)
        let isPod = rule.addressPlan.isPod(backend)
        // As long as such packets come, no program may drop them.
        services.learn(flow, isPod: isPod, now: now)
        guard flow.isTranslated, isPod else {
            return Verdict(decision: .report(.serviceWithoutPod))
        }
        guard !flow.isMasqueraded else { return Verdict(decision: .refuse(.masqueraded)) }
        // The backend's edge takes a client that is no pod for somebody else, and reports.
        guard rule.addressPlan.isPod(client) else {
            return Verdict(decision: .refuse(.serviceForm))
        }
        let decision = rule.decision(
            from: isEgress ? backend : client, to: isEgress ? client : backend, isEgress: isEgress
        ) { Rule.lowerEnd(of: flow.reply) }
        guard decision.isReported, let translation = Translation(flow) else {
            return Verdict(decision: .refuse(.serviceForm))
        }
        return Verdict(decision: .report(.podForm), translation: translation)
    }

    /// Neither an event nor a question has explained the flow. Where its service is known, the
    /// highest port of its backends stands in for the one.
    private mutating func unexplained(_ request: FlowKey, _ now: UInt64) -> Verdict {
        if let port = services.highestBackendPort(of: request, now: now), request.sourcePort > port
        {
            return Verdict(decision: .refuse(.unexplainedService))
        }
        return Verdict(decision: .report(.unexplainedService))
    }
}

/// An answer to the question what becomes of a flow.
package enum TrackedAnswer: Equatable, Sendable {
    case tracked(TrackedFlow)
    /// Connection tracking has no such flow, at present.
    case unknown
    /// It was not asked, for once.
    case notAsked
    /// It cannot be asked: no right to, or there is none.
    case unavailable
}
