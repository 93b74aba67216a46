package import Frames
package import Kernel
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
    private var settler: Settler
    private var table: Conntrack?

    /// A packet at one edge.
    package struct View: Equatable, Sendable {
        /// The edge's name, or whose it is where it is on another node.
        package let edge: String
        package let isEgress: Bool
        package let decision: Decision
        package let isDecidedByKernel: Bool
        /// The form in which the packet is reported, if that is another one.
        package let translation: Translation?
    }

    /// Looks at the node. What it asks connection tracking needs CAP_NET_ADMIN.
    package init(_ settings: Settings) throws(SystemError) {
        node = try Node.current()
        places = node.places
        var surroundings = node.surroundings(settings)
        surroundings.sensors = Set(settings.sensors.compactMap { IPAddress($0.host) })
        rule = Rule(surroundings, deduplicates: settings.deduplicates)
        settler = Settler(rule)
        if !settings.serviceNetworks.isEmpty { table = try? Conntrack() }
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
        let surroundings = rule.surroundings
        if surroundings.isService(address) { return "service" }
        let sensor = surroundings.sensors.contains(address) ? ", a sensor" : ""
        if let edge = edge(of: address) {
            let isInside = surroundings.isPodByNetwork(address)
            return "pod at \(edge.name)\(isInside ? "" : ", outside the pod networks")\(sensor)"
        }
        if surroundings.nodeAddresses.contains(address) { return "node\(sensor)" }
        if surroundings.isPod(address) { return "pod of another node\(sensor)" }
        let isInside = surroundings.podNetworks.contains { $0.contains(address) }
        return isInside ? "not covered by any agent\(sensor)" : "not a pod\(sensor)"
    }

    private func edge(of address: IPAddress) -> Place? {
        let owner = node.edges.first { $0.podAddresses?.contains(address) == true }
        return owner.flatMap { owner in places.first { $0.name == owner.link.name } }
    }

    /// A described packet at every edge that it passes, on this node and on others.
    package mutating func explain(_ packet: DescribedPacket) -> [View] {
        var views: [View] = []
        let forms = forms(of: packet)
        for form in forms {
            if let view = view(of: form, isEgress: false) { views.append(view) }
        }
        for form in forms.reversed() {
            if let view = view(of: form, isEgress: true) { views.append(view) }
        }
        return views
    }

    /// The packet as it is described, and as the other end of a translation has it; in the order in
    /// which it has them.
    private mutating func forms(of packet: DescribedPacket) -> [DescribedPacket] {
        let surroundings = rule.surroundings
        let isCall = surroundings.isService(packet.destination.address)
        guard isCall || surroundings.isService(packet.source.address) else { return [packet] }
        let call = isCall ? packet.key : packet.key.reversed
        guard let flow = try? table?.flow(call), flow.original == call, flow.isTranslated else {
            return [packet]
        }
        let hasPorts = packet.source.port != nil
        let backend = DescribedPacket.End(
            address: flow.reply.source, port: hasPorts ? flow.reply.sourcePort : nil)
        let caller = DescribedPacket.End(
            address: flow.reply.destination, port: hasPorts ? flow.reply.destinationPort : nil)
        return isCall
            ? [packet, packet.with(source: caller, destination: backend)]
            : [packet.with(source: backend, destination: caller), packet]
    }

    /// A packet where it enters from its source, or leaves to its destination; nil if that is no pod,
    /// or the packet has not this form there.
    private mutating func view(of packet: DescribedPacket, isEgress: Bool) -> View? {
        let end = (isEgress ? packet.destination : packet.source).address
        let place = edge(of: end)
        let isService = [packet.source, packet.destination].contains {
            rule.surroundings.isService($0.address)
        }
        guard place != nil || rule.surroundings.isPod(end) && !isService else { return nil }
        let point = place?.point ?? Self.elsewhere
        let pod = point.podMAC ?? Self.podMAC
        let frame = packet.frame(
            from: isEgress ? Self.gatewayMAC : pod, to: isEgress ? pod : Self.gatewayMAC)
        let verdict = settle(frame, isEgress: isEgress, at: point, now: monotonicNanoseconds())
        return View(
            edge: place?.name ?? "of \(end), on its node", isEgress: isEgress,
            decision: verdict.decision,
            isDecidedByKernel: EdgeProgram(
                rule, at: point, snaplen: UInt32(StartRequest.snaplenMax)
            )
            .decides(frame, isEgress: isEgress),
            translation: verdict.translation)
    }

    /// Has a frame settled as a forwarder would, with what connection tracking knows now.
    mutating func settle(
        _ frame: [UInt8], isEgress: Bool, at point: ObservationPoint, now: UInt64
    ) -> Settler.Verdict {
        while true {
            let outcome = settler.settle(frame.wire, isEgress: isEgress, at: point, now: now)
            switch outcome {
            case .verdict(let verdict): return verdict
            case .question(let flow): settler.answer(answer(flow), to: flow, now: now)
            case .wait: return Settler.Verdict(decision: .refuse(.observedEnd))
            }
        }
    }

    var services: ServiceTable { settler.services }

    private mutating func answer(_ question: FlowKey) -> TrackedAnswer {
        guard table != nil else { return .unavailable }
        do throws(SystemError) {
            return try table?.flow(question).map { .tracked($0) } ?? .unknown
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
    func decides(_ frame: [UInt8], isEgress: Bool) -> Bool {
        var ancillary = Ancillary()
        ancillary.packetType = isEgress ? Ancillary.outgoing : 0
        return program.run(on: frame.wire, ancillary) != Self.settleByteCount
    }
}
