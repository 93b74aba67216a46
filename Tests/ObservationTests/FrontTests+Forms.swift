import Addressing
import BPF
import FuzzSupport
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Both forms of the rule, and the fast path.
extension FrontTests {
    /// Calls of another pod, so that the flows of generated frames are not known.
    private static let learned: [TrackedFlow] = [
        (Site.b4, Site.node4, Site.c4), (Site.b4, Site.outside4, Site.c4),
        (Site.b4, Site.gateway4, Site.c4), (Site.b6, Site.node6, Site.c6),
        (Site.b6, Site.outside6, Site.c6),
    ].flatMap { client, front, backend in
        ([(6, 80), (17, 443), (132, 40_000)] as [(UInt8, UInt16)]).map { transport, port in
            TrackedFlow(
                original: frontFlow(client, 50_000, front, port).with(transport: transport),
                reply: frontFlow(backend, 255, client, 50_000).with(transport: transport))
        }
    }

    private static var known: SlowPath {
        var slowPath = SlowPath(Site.rule)
        for flow in learned { slowPath.learn(flow, now: Site.begin) }
        return slowPath
    }

    @Test("are what the program punts besides, and nothing that it decides", arguments: [31, 32])
    func differential(seed: UInt64) {
        var generator = RandomNumbers(seed)
        var slowPath = Self.known
        let fronts = slowPath.fronts.keys
        #expect(fronts.count == Self.learned.count)
        let program = EdgeProgram(Site.rule, at: Site.atA, snaplen: 262_144, fronts: fronts)
        let without = EdgeProgram(Site.rule, at: Site.atA, snaplen: 262_144)
        var fastPath = FastPath(Site.rule)
        fastPath.set(fronts: fronts)
        var (puntedCount, callCount) = (0, 0)
        for index in 0..<DifferentialTests.frameCountPerSeed {
            let frame = GeneratedFrame.make(with: &generator)
            let direction = Direction.random(with: &generator)
            let verdict = program.verdict(on: frame, direction: direction)
            let before = without.verdict(on: frame, direction: direction)
            let isCleared = fastPath.clears(
                frame.wire, toPod: direction == .toPod, at: EdgeMACs(Site.atA))
            let outcome = slowPath.outcome(of: frame.wire, direction: direction, at: Site.atA)
            if verdict != before { puntedCount += 1 }
            if verdict != before, outcome?.decision.isReported == false { callCount += 1 }
            let isRight =
                switch verdict {
                case .punt: !isCleared
                case .keep:
                    before == .keep && outcome?.decision.isReported == true
                        && outcome?.translation == nil && outcome?.requestPart == nil
                case .drop: before == .drop && outcome?.decision.isReported == false
                }
            let opening = fastPath.opening(frame, direction, at: Site.atA)
            if !isRight || opening?.kind == .kept && verdict == .punt {
                Issue.record(
                    "frame \(index) of seed \(seed): \(verdict), \(before), \(outcome as Any), \(isCleared), \(opening as Any): \(frame)"
                )
                return
            }
        }
        #expect(puntedCount > DifferentialTests.frameCountPerSeed / 100)
        #expect(callCount > DifferentialTests.frameCountPerSeed / 4000)
    }

    @Test("are all that the fast path does not clear besides")
    func fastPath() {
        let fronts = Self.known.fronts.keys
        let program = EdgeProgram(Site.rule, at: Site.atA, snaplen: 262_144, fronts: fronts)
        var fastPath = FastPath(Site.rule)
        fastPath.set(fronts: fronts)
        var clearedCount = 0
        for source in Site.all4 + Site.all6 {
            for destination in source.family == .ipv4 ? Site.all4 : Site.all6 {
                for (transport, port) in [(6, 80), (6, 81), (17, 443), (132, 80), (47, 80)]
                    as [(UInt8, UInt16)]
                {
                    for isReply in [false, true] {
                        let flow = frontFlow(source, 40_001, destination, port).with(
                            transport: transport)
                        let frame = frontPacket(isReply ? flow.reversed : flow)
                        for direction in Direction.allCases {
                            let verdict = program.verdict(on: frame, direction: direction)
                            let isCleared = fastPath.clears(
                                frame.wire, toPod: direction == .toPod, at: EdgeMACs(Site.atA))
                            if isCleared { clearedCount += 1 }
                            if isCleared { #expect(verdict != .punt, "\(flow)") }
                            // What passes between two strangers is only more than is needed.
                            let hasPod = [source, destination].contains(
                                where: Site.addressPlan.isPod)
                            if hasPod, transport != 47, verdict == .keep {
                                #expect(isCleared, "\(flow)")
                            }
                        }
                    }
                }
            }
        }
        #expect(clearedCount > 1000)
    }
}
