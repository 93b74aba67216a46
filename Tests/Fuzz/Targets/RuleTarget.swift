import Addressing
import FuzzSupport
import Observation
import ObservationFixtures
import Packets
import Time

/// Both forms of the rule, and the fast path, at an edge of a node.
///
/// The first byte chooses the node, one of some that are made at random. Frames follow, each behind
/// a byte for the edge, the direction and whether the kernel takes it for the pod's own, and one for
/// its length. The edge's program runs in the interpreter. What it keeps or drops, the slow path
/// reports or refuses. What it punts, the fast path does not clear.
enum RuleTarget {
    static let target = FuzzTarget(
        "rule", "frames at edges: the rule's program, fast path and slow path",
        byteCountMax: 2048, check)

    /// A node, with what its edges' programs know, and what it has learned of flows.
    private final class Node: Sendable {
        let site: GeneratedSite
        let programs: [EdgeProgram]
        let fastPath: FastPath
        /// The slow path, of which each call takes a copy.
        let slowPath: SlowPath

        init(_ seed: UInt64) {
            var numbers = RandomNumbers(seed)
            let site = GeneratedSite(with: &numbers)
            var slowPath = SlowPath(site.rule)
            for flow in site.flows { slowPath.learn(flow, now: Site.begin) }
            let fronts = slowPath.fronts.keys
            let dropList = slowPath.services.dropList(now: Site.begin)
            programs = site.points.map { point in
                EdgeProgram(
                    site.rule, at: point, snaplen: 262_144, fronts: fronts, dropList: dropList,
                    floods: site.floods)
            }
            var fastPath = FastPath(site.rule)
            fastPath.set(fronts: fronts)
            self.fastPath = fastPath
            (self.site, self.slowPath) = (site, slowPath)
        }
    }

    private static let nodes = (0..<16 as Range<UInt64>).map { Node($0) }
    private static let frameCountMax = 16

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        let node = nodes[Int(input.byte()) % nodes.count]
        var slowPath = node.slowPath
        var count = 0
        while !input.isAtEnd, count < frameCountMax {
            count += 1
            let choices = Int(input.byte())
            let frame = input.take(Int(input.byte()))
            let direction: Direction = choices & 1 == 0 ? .fromPod : .toPod
            let edge = (choices >> 1) % node.programs.count
            let point = node.site.points[edge]
            // The kernel says so inside pods alone, and not of frames to groups.
            let isToPodItself =
                choices & 0x80 != 0 && point.side == .pod && direction == .toPod
                && frame.first.map { $0 & 1 == 0 } ?? false
            let verdict = node.programs[edge].verdict(
                on: frame, direction: direction, at: point.side, isToPodItself: isToPodItself)
            let outcome = slowPath.outcome(
                of: frame.wire, direction: direction, at: point, isToPodItself: isToPodItself)
            let opening = node.fastPath.opening(frame, direction, at: point)
            let isCleared = node.fastPath.clears(
                frame.wire, toPod: direction == .toPod, at: EdgeMACs(point))
            let fault =
                verdict.fault(against: outcome, isCleared: isCleared)
                ?? verdict.fault(against: outcome, opening)
            if let fault {
                throw BrokenLaw(description: "\(fault), at edge \(edge), \(direction): \(frame)")
            }
        }
    }
}
