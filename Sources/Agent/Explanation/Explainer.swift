package import Addressing
package import Packets
package import Linux
package import Observation

import BPF
import Netlink
import RPCAP

/// Says for packets which edge reports them, and by which step of the rule, as the agent of this
/// node would have it at this moment.
package struct Explainer: ~Copyable {
    private let node: Node
    let places: [Place]
    let rule: Rule
    private var slowPath: SlowPath
    private var table: Conntrack?

    /// A packet at one edge.
    package struct View: Equatable, Sendable {
        /// The edge's name, or whose it is where it is on another node.
        package let edge: String
        /// The packet as it passes there.
        package let form: DescribedPacket
        package let direction: Direction
        package let decision: Decision
        package let isDecidedByKernel: Bool
        /// What the packet is rewritten to, if it is reported in another form.
        package let translation: Translation?
        /// Between two pods, the end whose edge reports.
        package let observedEnd: IPAddress?
    }

    /// Looks at the node. What it asks connection tracking needs CAP_NET_ADMIN.
    package init(_ settings: Settings) throws(SystemError) {
        node = try Node.current(settings.edges)
        places = node.places
        var addressPlan = node.addressPlan(settings)
        addressPlan.sensors = Set(settings.sensors.compactMap { IPAddress($0.host) })
        rule = Rule(addressPlan, deduplicates: settings.deduplicates)
        slowPath = SlowPath(rule)
        table = try? Conntrack()
    }

    /// Why pods' addresses are not known, if they are not.
    package var blindness: SystemError? { node.blindness }

    package func place(named name: String) -> Place? {
        places.first { $0.name == name }
    }

    package func program(at place: Place) -> EdgeProgram {
        EdgeProgram(rule, at: place.point, snaplen: UInt32(StartRequest.snaplenMax))
    }

    /// What an address is to the rule.
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
        if addressPlan.isPod(address) { return "pod of another node, if there is one\(sensor)" }
        let isInside = addressPlan.podNetworks.contains { $0.contains(address) }
        return isInside ? "not covered by any agent\(sensor)" : "not a pod\(sensor)"
    }

    private func edge(of address: IPAddress) -> Place? {
        let owner = node.edges.first { $0.podAddresses?.contains(address) == true }
        return owner.flatMap { owner in places.first { $0.name == owner.link.name } }
    }

    /// A described packet at every edge that it passes, on this node and on others.
    package mutating func explain(_ packet: DescribedPacket) -> [View] {
        var views: [View] = []
        // It enters in the form that its source gives it, and leaves in its destination's.
        let forms = forms(of: packet)
        if let view = view(of: forms.atSource, direction: .fromPod) { views.append(view) }
        if packet.isToGroup {
            let sender = edge(of: packet.source.address)
            for place in places where place != sender {
                views.append(view(of: packet, at: place, direction: .toPod))
            }
        }
        if let view = view(of: forms.atDestination, direction: .toPod) { views.append(view) }
        return views
    }

    /// The packet as it is described at one end, and as connection tracking has it at the other.
    private mutating func forms(
        of packet: DescribedPacket
    ) -> (atSource: DescribedPacket, atDestination: DescribedPacket) {
        let key = packet.key
        if let flow = try? table?.flow(key), flow.isTranslated || flow.isMasqueraded {
            if flow.original == key { return (packet, packet.with(flow.reply.reversed)) }
            if flow.reply == key { return (packet, packet.with(flow.original.reversed)) }
        }
        if let flow = try? table?.flow(key.reversed), flow.original == key.reversed,
            flow.isTranslated || flow.isMasqueraded
        {
            return (packet.with(flow.reply), packet)
        }
        return (packet, packet)
    }

    /// A packet where it enters from its source, or leaves to its destination; nil if that is no pod,
    /// or the packet has not this form there.
    private mutating func view(of packet: DescribedPacket, direction: Direction) -> View? {
        let end = (direction == .toPod ? packet.destination : packet.source).address
        let isService = [packet.source, packet.destination].contains {
            rule.addressPlan.isService($0.address)
        }
        let place = edge(of: end)
        guard place != nil || rule.addressPlan.isPod(end) && !isService else { return nil }
        return view(of: packet, at: place, direction: direction)
    }

    private mutating func view(
        of packet: DescribedPacket, at place: Place?, direction: Direction
    ) -> View {
        let end = (direction == .toPod ? packet.destination : packet.source).address
        let point = place?.point ?? Self.elsewhere
        let pod = point.podMAC ?? Self.podMAC
        let frame = packet.frame(
            from: direction == .toPod ? Self.gatewayMAC : pod,
            to: direction == .toPod ? pod : Self.gatewayMAC)
        let now = monotonicNanoseconds()
        let verdict = settle(frame, direction: direction, at: point, now: now)
        let program = EdgeProgram(
            rule, at: point, snaplen: UInt32(StartRequest.snaplenMax),
            dropList: slowPath.services.dropList(now: now))
        return View(
            edge: place?.name ?? "of \(end), on its node", form: packet, direction: direction,
            decision: verdict.decision,
            isDecidedByKernel: program.decides(frame, direction: direction),
            translation: verdict.translation,
            observedEnd: verdict.decision.step == .observedEnd
                ? Rule.lowerEnd(of: packet.key) : nil)
    }

    /// Has a frame settled as a forwarder would, with what connection tracking knows now.
    mutating func settle(
        _ frame: [UInt8], direction: Direction, at point: ObservationPoint, now: UInt64
    ) -> SlowPath.Outcome {
        while true {
            switch slowPath.decide(frame.wire, direction: direction, at: point, now: now) {
            case .decided(let outcome): return outcome
            case .lookUp(let flow): slowPath.learn(answer(flow), about: flow, now: now)
            case .hold: return SlowPath.Outcome(decision: .refuse(.observedEnd))
            }
        }
    }

    var services: ServiceTable { slowPath.services }

    private mutating func answer(_ question: FlowKey) -> LookupResult {
        guard table != nil else { return .unavailable }
        do throws(SystemError) {
            return try table?.flow(question).map { .tracked($0) } ?? .notFound
        } catch {
            return .unavailable
        }
    }

    private static let podMAC = MACAddress(value: 0x0200_0000_0001)
    private static let gatewayMAC = MACAddress(value: 0x0200_0000_0002)
    /// An edge of another node, as far as it is known here.
    private static let elsewhere = ObservationPoint(
        interfaceIndex: .max, podMAC: nil, domain: ObservationPoint.Domain([]))
}

extension EdgeProgram {
    /// Whether the kernel decides about a frame, or leaves it to user space.
    func decides(_ frame: [UInt8], direction: Direction) -> Bool {
        let ancillary = Ancillary(direction)
        return program.run(on: frame.wire, ancillary) != Self.puntByteCount
    }
}
