import Addressing
import BPF
import FuzzSupport
import Observation
import ObservationFixtures
import Packets
import Testing

/// The two forms of the rule, of nodes at random: with many MAC addresses behind edges, crowded edges,
/// networks behind pods, fronts, services and flooded copies, all together.
@Suite("The two forms of the rule, of any node")
struct RandomSiteTests {
    /// What a round has seen, so that it is known to have met each kind.
    private struct Counts {
        var verdicts: [EdgeProgram.Verdict: Int] = [:]
        var frontCount = 0
        var openingCount = 0
        var translatedCount = 0
        var floodedCount = 0
    }

    @Test("agree about each frame", arguments: Fuzz.seeds)
    func agree(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var counts = Counts()
            try Self.run(seed, frameCount: 600, &counts)
        }
    }

    @Test("meet each kind of frame")
    func kinds() throws {
        var counts = Counts()
        for seed in 1...20 as ClosedRange<UInt64> { try Self.run(seed, frameCount: 300, &counts) }
        for verdict in [EdgeProgram.Verdict.keep, .drop, .punt] {
            #expect(counts.verdicts[verdict, default: 0] > 100, "\(verdict)")
        }
        #expect(counts.frontCount > 20 && counts.openingCount > 100)
        #expect(counts.translatedCount > 5 && counts.floodedCount > 20)
    }

    private static func run(_ seed: UInt64, frameCount: Int, _ counts: inout Counts) throws {
        var generator = RandomNumbers(seed)
        let site = GeneratedSite(with: &generator)
        var slowPath = SlowPath(site.rule)
        for flow in site.flows { slowPath.learn(flow, now: Site.begin) }
        let fronts = slowPath.fronts.keys
        counts.frontCount += fronts.count
        let dropList = slowPath.services.dropList(now: Site.begin)
        var fastPath = FastPath(site.rule)
        fastPath.set(fronts: fronts)
        let programs = site.points.map { point in
            EdgeProgram(
                site.rule, at: point, snaplen: 262_144, fronts: fronts, dropList: dropList,
                floods: site.floods)
        }
        for index in 0..<frameCount {
            let frame = site.frame(with: &generator)
            let edge = Int.random(in: programs.indices, using: &generator)
            let direction = Direction.random(with: &generator)
            let point = site.points[edge]
            let isToPodItself = point.isToPodItself(frame, direction, with: &generator)
            let verdict = programs[edge].verdict(
                on: frame, direction: direction, at: point.side, isToPodItself: isToPodItself)
            let outcome = slowPath.outcome(
                of: frame.wire, direction: direction, at: point, isToPodItself: isToPodItself)
            counts.verdicts[verdict, default: 0] += 1
            if outcome?.translation != nil { counts.translatedCount += 1 }
            if outcome?.decision.step == .flooded { counts.floodedCount += 1 }
            let opening = fastPath.opening(frame, direction, at: point)
            if opening != nil { counts.openingCount += 1 }
            let isCleared = fastPath.clears(
                frame.wire, toPod: direction == .toPod, at: EdgeMACs(point))
            let fault =
                verdict.fault(against: outcome, isCleared: isCleared)
                ?? verdict.fault(against: outcome, opening)
            if let fault {
                throw Fuzz.Complaint(
                    "frame \(index) at edge \(edge), \(direction), \(fault): \(frame)")
            }
        }
    }
}
