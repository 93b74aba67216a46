import BPF
import Addressing
import Observation
import ObservationFixtures
import Testing

/// The rule exists twice on purpose. Frames made to meet each other's corner cases go through both
/// forms; where the program says keep or drop, the Swift rule must agree, and what the program
/// leaves to user space, user space must recognise as such.
@Suite("The two forms of the rule")
struct DifferentialTests {
    /// Eight seeds make a million frames of it.
    static let frameCountPerSeed = 1 << 17

    @Test("agree about a million generated frames", arguments: 1...8 as ClosedRange<UInt64>)
    func agree(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let programs = [Site.atA, Site.atB].map {
            ($0, EdgeProgram(Site.rule, at: $0, snaplen: 262_144))
        }
        var verdicts: [EdgeProgram.Verdict: Int] = [:]
        for index in 0..<Self.frameCountPerSeed {
            let frame = GeneratedFrame.make(with: &generator)
            let (point, program) = programs[Int.random(in: 0...1, using: &generator)]
            let direction = Direction.random(with: &generator)
            let verdict = program.verdict(on: frame, direction: direction)
            verdicts[verdict, default: 0] += 1
            if let fault = Self.disagreement(
                verdict, on: frame.wire, direction: direction, at: point)
            {
                Issue.record("frame \(index) of seed \(seed), \(fault): \(frame)")
                return
            }
        }
        // A generator that only made frames of one kind would prove nothing.
        for verdict in [EdgeProgram.Verdict.keep, .drop, .punt] {
            #expect(verdicts[verdict, default: 0] > Self.frameCountPerSeed / 20)
        }
    }

    /// What a drop list lets the kernel drop, user space would not have reported either.
    @Test("agree about what is known of services", arguments: [21, 22] as [UInt64])
    func agreeAboutServices(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        var slowPath = SlowPath(Site.rule)
        for flow in Self.calls { slowPath.learn(flow, now: 1) }
        let dropList = slowPath.services.dropList(now: 1)
        #expect(dropList.count == Self.calls.count)
        let program = EdgeProgram(Site.rule, at: Site.atA, snaplen: 262_144, dropList: dropList)
        let without = EdgeProgram(Site.rule, at: Site.atA, snaplen: 262_144)
        var droppedCount = 0
        for index in 0..<Self.frameCountPerSeed {
            let frame = GeneratedFrame.make(with: &generator)
            let direction = Direction.random(with: &generator)
            let verdict = program.verdict(on: frame, direction: direction)
            let before = without.verdict(on: frame, direction: direction)
            guard verdict != before else { continue }
            droppedCount += 1
            let answer = slowPath.decision(on: frame.wire, direction: direction, at: Site.atA)
            let decision = try #require(answer)
            if before != .punt || verdict != .drop || decision.isReported {
                Issue.record("frame \(index) of seed \(seed): \(verdict), \(decision): \(frame)")
                return
            }
        }
        #expect(droppedCount > Self.frameCountPerSeed / 4000)
    }

    /// Calls of another pod, so that the flows of generated frames are not known.
    private static let calls = [
        (Site.b4, Site.service4, Site.c4), (Site.b6, Site.service6, Site.c6),
    ].flatMap { client, service, backend in
        let services: [(UInt8, UInt16, UInt16)] = [
            (6, 80, 255), (17, 443, 256), (132, 40000, 40000),
        ]
        return services.map { transport, port, backendPort in
            let call = FlowKey(
                transport: transport, source: client, destination: service, sourcePort: 50_000,
                destinationPort: port)
            let reply = FlowKey(
                transport: transport, source: backend, destination: client,
                sourcePort: backendPort, destinationPort: 50_000)
            return TrackedFlow(original: call, reply: reply)
        }
    }

    private static func disagreement(
        _ verdict: EdgeProgram.Verdict, on frame: RawSpan, direction: Direction,
        at point: ObservationPoint
    ) -> String? {
        let decision = Site.rule.decision(on: frame, direction: direction, at: point)
        let mayNeedSettling = Site.rule.mayNeedSettling(frame)
        if mayNeedSettling, Screen(Site.rule).clears(frame) { return "cleared and not decided" }
        return switch verdict {
        case .punt: mayNeedSettling ? nil : "settled by nobody"
        case .keep: decision.isReported ? nil : "kept against \(decision)"
        case .drop: decision.isReported ? "dropped against \(decision)" : nil
        }
    }

    @Test("agree when there are too many addresses for a program", arguments: [5] as [UInt64])
    func agreeWithManyAddresses(seed: UInt64) {
        var addressPlan = Site.addressPlan
        for number in 0..<600 as Range<UInt32> {
            addressPlan.nodeAddresses.insert(IPAddress(ipv4: 0x0af4_0000 + number << 8))
            addressPlan.localPodAddresses.insert(IPAddress(ipv4: 0xac14_0000 + number))
        }
        let rule = Rule(addressPlan)
        let program = EdgeProgram(rule, at: Site.atA, snaplen: 262_144)
        #expect(program.decides)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<Self.frameCountPerSeed / 20 {
            let frame = GeneratedFrame.make(with: &generator)
            let decision = rule.decision(on: frame.wire, direction: .fromPod, at: Site.atA)
            let isSettled = rule.mayNeedSettling(frame.wire)
            let isCleared = Screen(rule).clears(frame.wire)
            #expect(!isCleared)
            switch program.verdict(on: frame, direction: .fromPod) {
            case .punt: #expect(isSettled)
            case let verdict: #expect((verdict == .keep) == decision.isReported)
            }
        }
    }

    /// Networks in which a service, or a link-local address, would be a pod's if that were asked first.
    @Test(
        "agree where a pod's address may be something else, too",
        arguments: [
            ["10.0.0.0/8", "192.168.100.0/24", "fd00::/16"],
            ["10.96.0.0/24", "10.244.0.0/16", "fe80::/16", "fd00:10:244::/56"],
            ["0.0.0.0/0", "::/0"],
            [],
        ])
    func agreeAboutOverlaps(podNetworks: [String]) {
        var addressPlan = Site.addressPlan
        addressPlan.podNetworks = podNetworks.map(network)
        let rule = Rule(addressPlan)
        let program = EdgeProgram(rule, at: Site.atA, snaplen: 262_144)
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<Self.frameCountPerSeed / 20 {
            let frame = GeneratedFrame.make(with: &generator)
            let direction = Direction.random(with: &generator)
            let decision = rule.decision(on: frame.wire, direction: direction, at: Site.atA)
            let isSettled = rule.mayNeedSettling(frame.wire)
            switch program.verdict(on: frame, direction: direction) {
            case .punt: #expect(isSettled)
            case let verdict: #expect((verdict == .keep) == decision.isReported)
            }
        }
    }

    @Test("let everything but the feed pass when duplicates are wanted")
    func withoutDeduplication() {
        let rule = Rule(Site.addressPlan, deduplicates: false)
        let program = EdgeProgram(rule, at: Site.atA, snaplen: 262_144)
        var generator = SeededGenerator(seed: 6)
        for _ in 0..<Self.frameCountPerSeed / 20 {
            let frame = GeneratedFrame.make(with: &generator)
            let decision = rule.decision(on: frame.wire, direction: .toPod, at: Site.atA)
            let isSettled = rule.mayNeedSettling(frame.wire)
            let isCleared = Screen(rule).clears(frame.wire)
            #expect(!(isCleared && isSettled))
            switch program.verdict(on: frame, direction: .toPod) {
            case .punt: #expect(isSettled)
            case let verdict: #expect((verdict == .keep) == decision.isReported)
            }
        }
    }
}
