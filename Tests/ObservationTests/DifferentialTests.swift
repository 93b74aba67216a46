import Addressing
import BPF
import FuzzSupport
import Observation
import ObservationFixtures
import Testing

/// The rule exists twice on purpose, as `Rule` and as `EdgeProgram`.
///
/// Frames made to meet each other's corner cases go through both forms. If the program says keep or
/// drop, the Swift rule must agree, and the slow path must find no part in a request; if it punts, the
/// fast path must not clear the frame. What the fast path says about requests the slow path says too.
@Suite("The two forms of the rule")
struct DifferentialTests {
    /// The number of frames per seed; eight seeds make a million.
    static let frameCountPerSeed = 1 << 17

    @Test("agree about a million generated frames", arguments: 1...8 as ClosedRange<UInt64>)
    func agree(seed: UInt64) {
        var generator = RandomNumbers(seed)
        let points = [Site.atA, Site.atB, Site.atRoutedA].flatMap { point in
            TapSide.allCases.map { point.captured(at: $0) }
        }
        let programs = points.map {
            ($0, EdgeProgram(Site.rule, at: $0, snaplen: 262_144))
        }
        let fastPath = FastPath(Site.rule)
        var slowPath = SlowPath(Site.rule)
        var verdicts: [EdgeProgram.Verdict: Int] = [:]
        var (partCount, openingCount) = (0, 0)
        for index in 0..<Self.frameCountPerSeed {
            let frame = GeneratedFrame.make(with: &generator)
            let (point, program) = programs[Int.random(in: points.indices, using: &generator)]
            let direction = Direction.random(with: &generator)
            let isToPodItself = point.isToPodItself(frame, direction, with: &generator)
            let verdict = program.verdict(
                on: frame, direction: direction, at: point.side, isToPodItself: isToPodItself)
            verdicts[verdict, default: 0] += 1
            let outcome = slowPath.outcome(
                of: frame.wire, direction: direction, at: point, isToPodItself: isToPodItself)
            if outcome?.requestPart != nil { partCount += 1 }
            let opening = fastPath.opening(frame, direction, at: point)
            if opening != nil { openingCount += 1 }
            let fault =
                Self.disagreement(
                    verdict,
                    Site.rule.decision(
                        on: frame.wire, direction: direction, at: point,
                        isToPodItself: isToPodItself),
                    outcome?.requestPart,
                    isCleared: fastPath.clears(
                        frame.wire, toPod: direction == .toPod, at: EdgeMACs(point)))
                ?? verdict.fault(against: outcome, opening)
            if let fault {
                Issue.record("frame \(index) of seed \(seed), \(fault): \(frame)")
                return
            }
        }
        // A generator that only made frames of one kind would prove nothing.
        for verdict in [EdgeProgram.Verdict.keep, .drop, .punt] {
            #expect(verdicts[verdict, default: 0] > Self.frameCountPerSeed / 20)
        }
        #expect(partCount > Self.frameCountPerSeed / 200)
        #expect(openingCount > Self.frameCountPerSeed / 200)
    }

    private static func disagreement(
        _ verdict: EdgeProgram.Verdict, _ decision: Decision, _ part: RequestPart?,
        isCleared: Bool
    ) -> String? {
        switch verdict {
        case .keep where part != nil, .drop where part != nil: "decided in spite of \(part as Any)"
        case .punt: isCleared ? "punted and cleared" : nil
        case .keep: decision.isReported ? nil : "kept against \(decision)"
        case .drop: decision.isReported ? "dropped against \(decision)" : nil
        }
    }

    /// Packets that a drop list lets the kernel drop, which user space would not report either.
    @Test("agree about what is known of services", arguments: [21, 22] as [UInt64])
    func agreeAboutServices(seed: UInt64) throws {
        var generator = RandomNumbers(seed)
        var slowPath = SlowPath(Site.rule)
        for flow in Self.calls { slowPath.learn(flow, now: Site.begin) }
        let dropList = slowPath.services.dropList(now: Site.begin)
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
        #expect(droppedCount > Self.frameCountPerSeed / 8000)
    }

    @Test("leave requests to dropped services, and what answers them, to user space")
    func openingsOfDroppedServices() {
        var slowPath = SlowPath(Site.rule)
        for flow in Self.calls { slowPath.learn(flow, now: Site.begin) }
        let dropList = slowPath.services.dropList(now: Site.begin)
        let program = EdgeProgram(Site.rule, at: Site.atA, snaplen: 262_144, dropList: dropList)
        let ends = [(Site.a4, Site.service4), (Site.a6, Site.service6)]
        for (client, service) in ends {
            for flags in 0...UInt8.max {
                for (transport, port) in [(6, 80), (17, 443)] as [(UInt8, UInt16)] {
                    for direction in Direction.allCases {
                        let isRequest = direction == .fromPod
                        var ports = Frame.ports(
                            isRequest ? 50_000 : port, isRequest ? port : 50_000)
                        ports[13] = flags
                        let frame = Frame.ethernet(
                            to: isRequest ? Site.bridgeMAC : Site.aMAC, from: Site.bMAC,
                            type: Frame.type(of: client),
                            Frame.ip(
                                from: isRequest ? client : service,
                                to: isRequest ? service : client, protocol: transport, ports))
                        let opens = transport == 6 && flags & 0x06 != 0
                        #expect(
                            program.verdict(on: frame, direction: direction)
                                == (opens ? .punt : .drop), "\(transport), flags \(flags)")
                    }
                }
            }
        }
    }

    /// The calls of another pod, so that the flows of generated frames are not known.
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

    /// Rules that are made of other lists than the site's.
    enum Variant: CaseIterable {
        /// More nodes in the pod networks, and pods outside them, than a program has room for.
        case manyAddresses
        /// More service networks and pods outside the pod networks than fit the fast path.
        case manyNetworks
        /// Pod networks that contain service addresses.
        case overlappingServices
        /// Pod networks that contain link-local addresses.
        case overlappingLinkLocal
        case podsEverywhere
        case noPods
        /// Everything but the feed passes.
        case duplicates

        var rule: Rule {
            var plan = Site.addressPlan
            switch self {
            case .manyAddresses:
                for number in 0..<600 as Range<UInt32> {
                    plan.nodeAddresses.insert(IPAddress(ipv4: 0x0af4_0000 + number << 8))
                    plan.localPodAddresses.insert(IPAddress(ipv4: 0xac14_0000 + number))
                }
            case .manyNetworks:
                plan.serviceNetworks =
                    (0..<6).map { network("10.96.\($0).0/24") }
                    + (0..<6).map { network("fd00:10:96:\($0)::/64") } + plan.serviceNetworks
                for number in 0..<6 as Range<UInt32> {
                    plan.localPodAddresses.insert(IPAddress(ipv4: 0xac14_0000 + number))
                }
            case .overlappingServices:
                plan.podNetworks = ["10.0.0.0/8", "192.168.100.0/24", "fd00::/16"].map(network)
                // Networks behind pods are outside the pod networks.
                plan.localPodNetworks = []
            case .overlappingLinkLocal:
                plan.podNetworks = [
                    "10.96.0.0/24", "10.244.0.0/16", "fe80::/16", "fd00:10:244::/56",
                ].map(network)
            case .podsEverywhere: plan.podNetworks = ["0.0.0.0/0", "::/0"].map(network)
            case .noPods: plan.podNetworks = []
            case .duplicates: return Rule(plan, deduplicates: false)
            }
            return Rule(plan)
        }
    }

    @Test("agree, whatever the rule is made of", arguments: Variant.allCases)
    func agreeAboutVariants(_ variant: Variant) {
        let rule = variant.rule
        let program = EdgeProgram(rule, at: Site.atA, snaplen: 262_144)
        let fastPath = FastPath(rule)
        var slowPath = SlowPath(rule)
        #expect(program.decides)
        var generator = RandomNumbers(7)
        for _ in 0..<Self.frameCountPerSeed / 20 {
            let frame = GeneratedFrame.make(with: &generator)
            let direction = Direction.random(with: &generator)
            let decision = rule.decision(on: frame.wire, direction: direction, at: Site.atA)
            let verdict = program.verdict(on: frame, direction: direction)
            let isCleared = fastPath.clears(
                frame.wire, toPod: direction == .toPod, at: EdgeMACs(Site.atA))
            let outcome = slowPath.outcome(of: frame.wire, direction: direction, at: Site.atA)
            let fault =
                Self.disagreement(verdict, decision, outcome?.requestPart, isCleared: isCleared)
                ?? verdict.fault(
                    against: outcome,
                    fastPath.opening(frame, direction, at: Site.atA))
            #expect(fault == nil, "\(frame)")
            // With too many addresses for a program, nothing is cleared.
            if variant == .manyAddresses { #expect(!isCleared) }
        }
    }
}
