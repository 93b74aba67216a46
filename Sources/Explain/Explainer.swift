package import Addressing
import BPF
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
    private let node: Node
    /// Where both edges of a request may be.
    let localEdges: LocalEdges
    let edges: [Edge]
    let rule: Rule
    private var slowPath: SlowPath
    private var flows: FlowLookup

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

        /// Whether the packet is reported where it leaves to its destination, and not on this node.
        package var isReportedElsewhere: Bool {
            decision.isReported && !isHere && direction == .toPod
        }

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
        edges = node.edges
        localEdges = node.localEdges
        var addressPlan = node.addressPlan(settings)
        addressPlan.sensors = sensors
        rule = Rule(addressPlan, deduplicates: settings.deduplicates)
        slowPath = SlowPath(rule)
        self.flows = flows
    }

    /// Reads the node, which takes some milliseconds and needs CAP_NET_ADMIN.
    package static func read(_ settings: Settings) throws(SystemError) -> Self {
        Self(
            try Node.read(settings.edges), RuleSettings(settings),
            sensors: Set(settings.sensors.compactMap { IPAddress($0.host) }), flows: FlowLookup())
    }

    /// Why pods' addresses are not known; nil if they are.
    package var addressFailure: SystemError? { node.addressFailure }

    /// The edge with a name, if there is one.
    package func edge(named name: String) -> Edge? {
        edges.first { $0.name == name }
    }

    /// The program that an agent would load at an edge.
    package func program(at edge: Edge) -> EdgeProgram {
        EdgeProgram(rule, at: edge.point, snaplen: UInt32(StartRequest.snaplenMax))
    }

    /// The role of an address in the rule, in words.
    package func role(of address: IPAddress) -> String {
        let addressPlan = rule.addressPlan
        if address.isGroup { return "group" }
        if addressPlan.isService(address) { return "service" }
        let sensor = addressPlan.sensors.contains(address) ? ", a sensor" : ""
        if let edge = edge(of: address) {
            let isInside = addressPlan.isPodByNetwork(address)
            return "pod at \(edge.name)\(isInside ? "" : ", outside the pod networks")\(sensor)"
        }
        if addressPlan.nodeAddresses.contains(address) {
            return "node, or a gateway of its routes\(sensor)"
        }
        if addressPlan.isPod(address) {
            return isOwnBridges(address)
                ? "no pod: it is in the network of this node's pods, and none of them has it\(sensor)"
                : "pod of another node, if there is one\(sensor)"
        }
        let isInside = addressPlan.podNetworks.contains { $0.contains(address) }
        return isInside ? "not covered by any agent\(sensor)" : "not a pod\(sensor)"
    }

    /// Whether only pods of this node can have an address, by the networks of its bridges.
    private func isOwnBridges(_ address: IPAddress) -> Bool {
        node.bridgeNetworks.contains { $0.contains(address) }
    }

    /// The place of an edge that is not on this node, in words: the pod whose edge it is.
    private func placeElsewhere(of address: IPAddress) -> String {
        isOwnBridges(address) ? "of \(address), which no pod has" : "of \(address), on its node"
    }

    private func edge(of address: IPAddress) -> Edge? {
        let owner =
            node.capturedVeths.first { $0.addresses.contains(address) }
            ?? node.networksBehindPods.first { $0.network.contains(address) }?.veth
        return owner.flatMap { owner in edge(named: owner.link.name) }
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
        if packet.isToGroup {
            let sender = edge(of: packet.source.address)
            for edge in edges where edge != sender {
                views.append(view(of: packet, at: edge, .toPod, isRequest, now: now))
            }
        }
        if let view = view(of: forms.atDestination, .toPod, isRequest, now: now) {
            views.append(view)
        }
        return views
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
        let edge = edge(of: end)
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
            isRequest: isRequest)
        let outcome = decide(frame, direction: direction, at: point, now: now)
        let program = EdgeProgram(
            rule, at: point, snaplen: UInt32(StartRequest.snaplenMax),
            fronts: slowPath.fronts.keys, dropList: slowPath.services.dropList(now: now))
        return View(
            edge: edge?.name ?? placeElsewhere(of: end), isHere: edge != nil, form: packet,
            direction: direction, decision: outcome.decision,
            isDecidedByKernel: program.decides(frame, direction: direction),
            translation: outcome.translation,
            observedEnd: outcome.decision.step == .observedEnd
                ? Rule.lowerEnd(of: packet.key) : nil,
            requestPart: outcome.requestPart)
    }

    /// The MAC address from which a pod gets frames of an address, and to which it sends them.
    ///
    /// It is that of another pod of the bridge, or that of the gateway.
    private func neighbour(of point: ObservationPoint, _ address: IPAddress) -> MACAddress {
        if let bridge = point.bridge, let other = edge(of: address)?.point, other.bridge == bridge,
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
    func decides(_ frame: [UInt8], direction: Direction) -> Bool {
        let ancillary = Ancillary(direction)
        return program.run(on: frame.wire, ancillary) != Self.puntByteCount
    }
}
