import BPF
import Frames
import Observation
import ObservationFixtures
import Testing

/// The rule exists twice on purpose. Frames made to meet each other's corner cases go through both
/// forms; where the program says keep or drop, the Swift rule must agree, and what the program
/// leaves to user space, user space must recognise as such.
@Suite("The two forms of the rule")
struct DifferentialTests {
    /// Enough to meet every pair of addresses in every shape a few times.
    static let frameCountPerSeed = 60_000

    @Test("agree about generated frames", arguments: [1, 2, 3, 4] as [UInt64])
    func agree(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let programs = [Site.atA, Site.atB].map {
            ($0, EdgeProgram(Site.rule, at: $0, snaplen: 262_144))
        }
        var verdicts: [EdgeProgram.Verdict: Int] = [:]
        for index in 0..<Self.frameCountPerSeed {
            let frame = GeneratedFrame.make(with: &generator)
            for (point, program) in programs {
                for isEgress in [false, true] {
                    let verdict = program.verdict(on: frame, isEgress: isEgress)
                    verdicts[verdict, default: 0] += 1
                    if let fault = Self.disagreement(
                        verdict, on: frame.wire, isEgress: isEgress, at: point)
                    {
                        Issue.record("frame \(index) of seed \(seed), \(fault): \(frame)")
                        return
                    }
                }
            }
        }
        // A generator that only made frames of one kind would prove nothing.
        for verdict in [EdgeProgram.Verdict.keep, .drop, .settle] {
            #expect(verdicts[verdict, default: 0] > Self.frameCountPerSeed / 20)
        }
    }

    private static func disagreement(
        _ verdict: EdgeProgram.Verdict, on frame: RawSpan, isEgress: Bool,
        at point: ObservationPoint
    ) -> String? {
        let decision = Site.rule.decision(on: frame, isEgress: isEgress, at: point)
        let mayNeedSettling = Site.rule.mayNeedSettling(frame)
        return switch verdict {
        case .settle: mayNeedSettling ? nil : "settled by nobody"
        case .keep: decision.isReported ? nil : "kept against \(decision)"
        case .drop: decision.isReported ? "dropped against \(decision)" : nil
        }
    }

    @Test("agree when there are too many addresses for a program", arguments: [5] as [UInt64])
    func agreeWithManyAddresses(seed: UInt64) {
        var surroundings = Site.surroundings
        for number in 0..<600 as Range<UInt32> {
            surroundings.nodeAddresses.insert(IPAddress(ipv4: 0x0af4_0000 + number << 8))
            surroundings.localPodAddresses.insert(IPAddress(ipv4: 0xac14_0000 + number))
        }
        let rule = Rule(surroundings)
        let program = EdgeProgram(rule, at: Site.atA, snaplen: 262_144)
        #expect(program.program.fitsKernel)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<Self.frameCountPerSeed / 10 {
            let frame = GeneratedFrame.make(with: &generator)
            let decision = rule.decision(on: frame.wire, isEgress: false, at: Site.atA)
            let isSettled = rule.mayNeedSettling(frame.wire)
            switch program.verdict(on: frame, isEgress: false) {
            case .settle: #expect(isSettled)
            case let verdict: #expect((verdict == .keep) == decision.isReported)
            }
        }
    }

    @Test("let everything but the feed pass when duplicates are wanted")
    func withoutDeduplication() {
        let rule = Rule(Site.surroundings, deduplicates: false)
        let program = EdgeProgram(rule, at: Site.atA, snaplen: 262_144)
        var generator = SeededGenerator(seed: 6)
        for _ in 0..<Self.frameCountPerSeed / 10 {
            let frame = GeneratedFrame.make(with: &generator)
            let decision = rule.decision(on: frame.wire, isEgress: true, at: Site.atA)
            let isSettled = rule.mayNeedSettling(frame.wire)
            switch program.verdict(on: frame, isEgress: true) {
            case .settle: #expect(isSettled)
            case let verdict: #expect((verdict == .keep) == decision.isReported)
            }
        }
    }
}
