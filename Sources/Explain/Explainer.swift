package import Addressing
package import BPF
package import Edges
package import Linux
import Netlink
package import Observation
package import Packets
import RPCAP
package import Settings
package import Time

/// Explains which edge reports a packet, and by which step of the rule, as this node is now.
package struct Explainer: ~Copyable {
    let node: Node
    /// Where both edges of a request may be.
    let localEdges: LocalEdges
    package let edges: [Edge]
    let rule: Rule
    private var slowPath: SlowPath
    /// The slow path of another node's agent, which knows neither this node's pods nor its calls.
    private var slowPathElsewhere: SlowPath
    private var flows: FlowLookup
    /// The edges behind which pods send from addresses that are nobody's, by the names of edges.
    ///
    /// Nil if there is no agent that has seen what pods send.
    package var senders: [IPAddress: String]?

    /// A packet at one edge, and what becomes of it there.
    package struct View: Equatable, Sendable {
        /// The edge's name, or whose edge it is if it is not on this node.
        package let edge: String
        /// Whether the edge is on this node.
        package let isHere: Bool
        /// The packet as it passes there.
        package let form: DescribedPacket
        /// The direction in which it passes.
        package let direction: Direction
        /// What the rule decides.
        package let decision: Decision
        /// Whether the kernel decides, or the slow path.
        package let isDecidedByKernel: Bool
        /// What the packet is rewritten to, if it is reported in another form.
        package let translation: Translation?
        /// The end whose edge reports, if both ends are pods.
        package let observedEnd: IPAddress?
        /// The part that the packet has in a request: a ping is held at both edges.
        package let requestPart: RequestPart?

        /// The same at an edge of another name.
        func named(_ edge: String) -> Self {
            Self(
                edge: edge, isHere: isHere, form: form, direction: direction, decision: decision,
                isDecidedByKernel: isDecidedByKernel, translation: translation,
                observedEnd: observedEnd, requestPart: requestPart)
        }

        /// Whether the packet is reported where it leaves to its destination, and not on this node.
        package var isReportedElsewhere: Bool {
            decision.isReported && !isHere && direction == .toPod
        }

        /// Whether an agent with this filter sends the packet, by its addresses and ports alone.
        ///
        /// - Parameter filter: The filter.
        /// - Returns: Nil if it depends on what is not described: length, MAC addresses, flags, payload.
        package func passes(_ filter: Program) -> Bool? {
            guard !filter.asksForMAC else { return nil }
            let verdicts = Set(
                reportedForm.possibleFrames(for: filter).lazy.map { filter.run(on: $0.wire) > 0 })
            return verdicts.count == 1 ? verdicts.first : nil
        }

        /// Whether its flow belongs to a sample.
        package func belongs(to sample: FlowSample) -> Bool { sample.contains(reportedForm.key) }

        /// The packet in the form in which it is reported.
        var reportedForm: DescribedPacket {
            translation.map { form.translated(by: $0) } ?? form
        }
    }

    /// Creates an explainer of a node as it was read.
    ///
    /// `sensors` are the addresses whose feed is not reported, and `flows` is where tracked
    /// connections are looked up.
    package init(
        _ node: Node, _ settings: RuleSettings, sensors: Set<IPAddress> = [],
        flows: consuming FlowLookup
    ) {
        self.node = node
        // Where an agent captures each: the kernel's program is not the same at both ends.
        edges = node.edges.map { $0.captured(at: $0.tap.side) }
        localEdges = node.localEdges
        var addressPlan = node.addressPlan(settings)
        addressPlan.sensors = sensors
        rule = Rule(addressPlan, deduplicates: settings.deduplicates)
        slowPath = SlowPath(rule)
        var planElsewhere = node.addressPlanElsewhere(settings)
        planElsewhere.sensors = sensors
        slowPathElsewhere = SlowPath(
            Rule(planElsewhere, deduplicates: settings.deduplicates))
        self.flows = flows
    }

    /// Reads the node, which takes some milliseconds and needs CAP_NET_ADMIN.
    package static func read(_ settings: Settings) throws(SystemError) -> Self {
        Self(
            try Node.read(settings.edges, namesIn: settings.nameFolder, taps: settings.taps),
            RuleSettings(settings),
            sensors: Set(settings.sensors.compactMap { IPAddress($0.host) }),
            flows: FlowLookup(ciliumFolder: settings.capture.ciliumFolder))
    }

    /// Why pods' addresses are not known; nil if they are.
    package var addressFailure: SystemError? { node.addressFailure }

    /// The edge with a name, if there is one.
    package func edge(named name: String) -> Edge? {
        edges.first { $0.name == name }
    }

    /// The program that an agent would load at an edge.
    ///
    /// - Parameters:
    ///   - edge: The edge.
    ///   - filter: The agent's filter.
    ///   - sample: The agent's sample of flows.
    /// - Returns: The program.
    package func program(
        at edge: Edge, filter: Program? = nil, sample: FlowSample? = nil
    ) -> EdgeProgram {
        EdgeProgram(
            rule, at: edge.point, filter: filter, snaplen: UInt32(StartRequest.snaplenMax),
            selection: FlowSelection(sample: sample))
    }

    /// Explains a described packet at every edge that it passes, on this node and on others.
    ///
    /// If it is a request, a TCP packet is the SYN that begins a connection.
    package mutating func explain(
        _ packet: DescribedPacket, isRequest: Bool = false, now: MonotonicTime
    ) -> [View] {
        var views: [View] = []
        // The packet enters in the form that its source gives it, and leaves in its destination's.
        let forms = forms(of: packet, now: now)
        if let view = view(of: forms.atSource, .fromPod, isRequest, now: now) { views.append(view) }
        if isToGroup(packet) {
            views += copies(of: packet, isRequest, now: now)
        } else if let view = view(of: forms.atDestination, .toPod, isRequest, now: now) {
            views.append(view)
        }
        return views
    }

    /// A packet to a group at all edges but its sender's.
    ///
    /// The edges are one view if one of them reports it and nobody can say which.
    private mutating func copies(
        of packet: DescribedPacket, _ isRequest: Bool, now: MonotonicTime
    ) -> [View] {
        let sender = owner(of: packet.source.address)
        var views: [View] = []
        for edge in edges where edge != sender {
            views.append(view(of: packet, at: edge, .toPod, isRequest, now: now))
        }
        let copies = views.filter { $0.decision == .report(.groupFromElsewhere) }
        guard copies.count > 1, copies.count == views.count, let first = copies.first else {
            return views
        }
        return [first.named("one of \(copies.count) edges")]
    }

    /// The packet as it was described at one end, and as connection tracking has it at the other.
    private mutating func forms(
        of packet: DescribedPacket, now: MonotonicTime
    ) -> (atSource: DescribedPacket, atDestination: DescribedPacket) {
        let key = packet.key
        if let flow = try? flows.flow(key), flow.isTranslated || flow.isMasqueraded {
            slowPath.learn(flow, now: now)
            if flow.original == key { return (packet, packet.with(flow.reply.reversed)) }
            if flow.reply == key { return (packet, packet.with(flow.original.reversed)) }
        }
        if let flow = try? flows.flow(key.reversed), flow.original == key.reversed,
            flow.isTranslated || flow.isMasqueraded
        {
            slowPath.learn(flow, now: now)
            return (packet.with(flow.reply), packet)
        }
        return (packet, packet)
    }

    /// A packet where it enters from its source, or leaves to its destination.
    ///
    /// Nil if that end is no pod, or the packet does not have this form there.
    private mutating func view(
        of packet: DescribedPacket, _ direction: Direction, _ isRequest: Bool,
        now: MonotonicTime
    ) -> View? {
        let end = (direction == .toPod ? packet.destination : packet.source).address
        let edge = owner(of: end)
        guard edge != nil || rule.addressPlan.isPod(end) else { return nil }
        return view(of: packet, at: edge, direction, isRequest, now: now)
    }

    private mutating func view(
        of packet: DescribedPacket, at edge: Edge?, _ direction: Direction, _ isRequest: Bool,
        now: MonotonicTime
    ) -> View {
        let end = (direction == .toPod ? packet.destination : packet.source).address
        let point = edge?.point ?? Self.elsewhere
        let pod = point.podMAC ?? Self.podMAC
        let frame = packet.frame(
            from: direction == .toPod ? neighbour(of: point, packet.source.address) : pod,
            to: direction == .toPod ? pod : neighbour(of: point, packet.destination.address),
            isToGroup: isToGroup(packet), isRequest: isRequest)
        let outcome =
            edge == nil
            ? decideElsewhere(frame, direction: direction, now: now)
            : decide(frame, direction: direction, at: point, now: now)
        let known = edge == nil ? slowPathElsewhere : slowPath
        let program = EdgeProgram(
            known.rule, at: point, snaplen: UInt32(StartRequest.snaplenMax),
            fronts: known.fronts.keys, dropList: known.services.dropList(now: now))
        return View(
            edge: edge?.name ?? placeElsewhere(of: end), isHere: edge != nil, form: packet,
            direction: direction, decision: outcome.decision,
            isDecidedByKernel: program.decides(frame, direction: direction, at: point.side),
            translation: outcome.translation,
            observedEnd: outcome.decision.step == .observedEnd
                ? Rule.lowerEnd(of: packet.key) : nil,
            requestPart: outcome.requestPart)
    }

    /// The MAC address from which a pod gets frames of an address, and to which it sends them.
    ///
    /// It is that of another pod of the bridge, or that of the gateway.
    private func neighbour(of point: ObservationPoint, _ address: IPAddress) -> MACAddress {
        if let bridge = point.bridge, let other = owner(of: address)?.point, other.bridge == bridge,
            let mac = other.podMAC
        {
            return mac
        }
        return point.bridgeMAC ?? Self.gatewayMAC
    }

    /// Decides about a frame as a forwarder's slow path would, with the flows that are known now.
    mutating func decide(
        _ frame: [UInt8], direction: Direction, at point: ObservationPoint, now: MonotonicTime
    ) -> SlowPath.Outcome {
        while true {
            switch slowPath.decide(frame.wire, direction: direction, at: point, now: now) {
            case .decided(let outcome): return outcome
            case .lookUp(let flow): slowPath.learn(lookUp(flow), about: flow, now: now)
            case .hold: return SlowPath.Outcome(decision: .refuse(.observedEnd))
            }
        }
    }

    /// Decides about a frame as another node's agent would, at an edge that is not on this node.
    private mutating func decideElsewhere(
        _ frame: [UInt8], direction: Direction, now: MonotonicTime
    ) -> SlowPath.Outcome {
        while true {
            let step = slowPathElsewhere.decide(
                frame.wire, direction: direction, at: Self.elsewhere, now: now)
            switch step {
            case .decided(let outcome): return outcome
            case .lookUp(let flow): slowPathElsewhere.learn(.notFound, about: flow, now: now)
            case .hold: return SlowPath.Outcome(decision: .refuse(.observedEnd))
            }
        }
    }

    /// The services that the slow path has learned.
    var services: ServiceTable { slowPath.services }

    /// The fronts that the slow path has learned.
    var fronts: FrontTable { slowPath.fronts }

    private mutating func lookUp(_ flow: FlowKey) -> LookupResult {
        guard flows.isAvailable else { return .unavailable }
        do throws(SystemError) {
            return try flows.flow(flow).map { .tracked($0) } ?? .notFound
        } catch {
            return .unavailable
        }
    }

    private static let podMAC = MACAddress(value: 0x0200_0000_0001)
    private static let gatewayMAC = MACAddress(value: 0x0200_0000_0002)
    /// An edge of another node, as far as this node knows it.
    private static let elsewhere = ObservationPoint(
        interfaceIndex: .max, podMAC: nil, domain: ObservationPoint.Domain([]))
}

extension EdgeProgram {
    /// Whether the program decides about a frame, and does not punt it.
    func decides(_ frame: [UInt8], direction: Direction, at side: TapSide) -> Bool {
        let ancillary = Ancillary(direction, at: side)
        return program.run(on: frame.wire, ancillary) != Self.puntByteCount
    }
}

extension Program {
    /// Whether a frame's MAC addresses are looked at.
    fileprivate var asksForMAC: Bool {
        instructions.contains { step in
            step.opcode.isLoadAtOffset && step.operand < EthernetHeader.etherType
        }
    }

    /// The numbers that are compared with, a few of them.
    fileprivate var comparedNumbers: Set<UInt32> {
        Set(
            instructions.lazy.filter { Opcode.conditionalJumps.contains($0.opcode) }
                .map(\.operand).prefix(64))
    }
}

extension DescribedPacket {
    /// Frames that the packet may be, which differ in what is not described.
    fileprivate func possibleFrames(for filter: Program) -> [[UInt8]] {
        let bare = frame(from: .broadcast, to: .broadcast)
        let transportOffset = bare.count - TCPHeader.byteCount
        let byFlags = (0...0x1f as ClosedRange<UInt8>).map { flags in
            var frame = bare
            if transport == IPProtocol.tcp { frame[transportOffset + TCPHeader.flags] = flags }
            return frame
        }
        let byLength = [64, 512, 1514, 9014, 65_549].map { count in
            bare + [UInt8](repeating: 0, count: max(0, count - bare.count))
        }
        let known = Array(bare.prefix(transportOffset + PortsHeader.byteCount))
        let byContent = filter.comparedNumbers.flatMap { number in
            // Whatever the alignment at which they are loaded.
            [UInt32](arrayLiteral: 0, 8, 16, 24, 32).map { shift in
                let word =
                    shift == 32 ? number << 16 | number : number << shift | number >> (32 - shift)
                return known
                    + (0..<256).map { UInt8(truncatingIfNeeded: word >> (24 - $0 % 4 * 8)) }
            }
        }
        return byFlags + byLength + byContent
    }
}
