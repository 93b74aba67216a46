import Addressing
import BPF
import Observation
import ObservationFixtures
import Packets
import Time

/// A node of a random network, which does with each frame at its edges what an agent does.
final class NetworkNode {
    /// A frame that is reported.
    struct Report {
        let edge: UInt32
        let step: String
        /// Whether it is reported in the form that its backend's edge sees, if there is another one.
        let isInFinalForm: Bool
    }

    private var rule: Rule
    private let points: [ObservationPoint]
    private var programs: [EdgeProgram]
    /// The services that the programs drop.
    private var installed: [ServiceKey: UInt16] = [:]
    private var fastPath: FastPath
    private var frontChangeCount = 0
    private var slowPath: SlowPath
    private var copies = CopyTable()
    /// What connection tracking has, by the addresses and ports of either end.
    private var tracked: [FlowKey: TrackedFlow] = [:]
    /// What is wrong, if something is.
    private(set) var fault: String?
    /// When the present packet was sent, in nanoseconds.
    var sentAt: UInt64 = 1_700_000_000_000_000_000

    init(_ rule: Rule, _ points: [ObservationPoint]) {
        (self.rule, self.points) = (rule, points)
        programs = points.map { EdgeProgram(rule, at: $0, snaplen: 262_144) }
        fastPath = FastPath(rule)
        slowPath = SlowPath(rule)
    }

    /// Has connection tracking know of a flow, of which it tells when it is asked.
    func track(_ flow: TrackedFlow) {
        (tracked[flow.original], tracked[flow.reply]) = (flow, flow)
    }

    /// Learns of a call by an event, before its first packet is read.
    func learn(_ flow: TrackedFlow) {
        track(flow)
        slowPath.learn(flow, now: Site.begin)
        updateFronts()
        // Programs that drop too much are replaced at once.
        if slowPath.services.contradicts(installed, now: Site.begin) { refresh() }
    }

    /// Learns behind which edge a MAC address lives.
    func learn(_ mac: MACAddress, at pod: Int) {
        var plan = rule.addressPlan
        guard let bridge = points[pod].bridge else { return }
        plan.macs.add(mac, on: bridge, at: .edge(points[pod].interfaceIndex))
        rule = Rule(plan)
        slowPath.rule = rule
        fastPath = FastPath(rule)
        fastPath.set(fronts: slowPath.fronts.keys)
    }

    /// Makes programs of what is known by now.
    func refresh() {
        installed = slowPath.services.dropList(now: Site.begin)
        programs = points.map {
            EdgeProgram(
                rule, at: $0, snaplen: 262_144, fronts: slowPath.fronts.keys, dropList: installed)
        }
    }

    private func updateFronts() {
        guard slowPath.fronts.changeCount != frontChangeCount else { return }
        frontChangeCount = slowPath.fronts.changeCount
        fastPath.set(fronts: slowPath.fronts.keys)
    }

    /// Returns the report of a frame; nil if it is left to another edge.
    func report(_ sight: PassingPacket.Sight) -> Report? {
        let (frame, direction, point) = (sight.frame, sight.direction, points[sight.pod])
        let verdict = programs[sight.pod].verdict(on: frame, direction: direction)
        if verdict == .drop { return nil }
        if fastPath.clears(frame.wire, toPod: direction == .toPod, at: EdgeMACs(point)) {
            if verdict == .punt { fault = "punted and cleared" }
            return Report(
                edge: point.interfaceIndex, step: "program", isInFinalForm: sight.isInFinalForm)
        }
        let isGroup = MACAddress(frame.wire, at: 0).isGroup
        if isGroup, direction == .toPod {
            let decision = slowPath.rule.decision(on: frame.wire, direction: .toPod, at: point)
            guard isFirstCopy(frame, decision, at: point) else { return nil }
        }
        guard let outcome = outcome(of: frame, direction, at: point) else { return nil }
        if !isGroup, direction == .toPod, !isFirstCopy(frame, outcome.decision, at: point) {
            return nil
        }
        // Each request here is answered, so that the edge of the observed end reports it.
        var isReported = outcome.decision.isReported
        if case .request(_, let edge) = outcome.requestPart { isReported = edge == .observedEnd }
        guard isReported else { return nil }
        return Report(
            edge: point.interfaceIndex, step: outcome.decision.step.description,
            isInFinalForm: sight.isInFinalForm || outcome.translation != nil)
    }

    private func isFirstCopy(
        _ frame: [UInt8], _ decision: Decision, at point: ObservationPoint
    ) -> Bool {
        guard rule.mayHaveCopies(frame.wire, decision, at: point) else { return true }
        return copies.recordsFirst(
            frame.wire, byteCount: frame.count, at: point,
            stamp: sentAt + UInt64(point.interfaceIndex) * 1000, now: Site.begin)
    }

    private func outcome(
        of frame: [UInt8], _ direction: Direction, at point: ObservationPoint
    ) -> SlowPath.Outcome? {
        for _ in 0..<2 {
            switch slowPath.decide(frame.wire, direction: direction, at: point, now: Site.begin) {
            case .decided(let outcome): return outcome
            case .lookUp(let flow):
                slowPath.learn(
                    tracked[flow].map { .tracked($0) } ?? .notFound, about: flow, now: Site.begin)
                updateFronts()
            case .hold: break
            }
        }
        fault = "undecided: \(frame)"
        return nil
    }
}
