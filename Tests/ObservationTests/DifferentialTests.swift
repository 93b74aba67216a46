import BPF
import Frames
import Observation
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

/// Frames that are likely to matter: known addresses, near-equal ports, odd lengths and headers.
enum GeneratedFrame {
    static func make(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        let pool = Bool.random(using: &generator) ? Site.all4 : Site.all6
        let source = pool.randomElement(using: &generator) ?? Site.a4
        let destination = pool.randomElement(using: &generator) ?? Site.c4
        var bytes = Frame.ethernet(
            to: destinationMAC(with: &generator), from: sourceMAC(with: &generator),
            type: Frame.type(of: source),
            Frame.ip(
                from: source, to: destination, protocol: transport(with: &generator),
                fragment: [0, 0, 0, 0, 0x4000, 0x2000, 0x0010].randomElement(using: &generator)
                    ?? 0,
                payload(with: &generator)))
        distort(&bytes, with: &generator)
        return bytes
    }

    private static func destinationMAC(with generator: inout some RandomNumberGenerator)
        -> MACAddress
    {
        [
            Site.aMAC, Site.aMAC, Site.aMAC, Site.bMAC, Site.bMAC, Site.bridgeMAC, Site.strangerMAC,
            .broadcast,
        ].randomElement(using: &generator) ?? Site.aMAC
    }

    private static func sourceMAC(with generator: inout some RandomNumberGenerator) -> MACAddress {
        [Site.aMAC, Site.bMAC, Site.bridgeMAC, Site.strangerMAC].randomElement(using: &generator)
            ?? Site.aMAC
    }

    private static func transport(with generator: inout some RandomNumberGenerator) -> UInt8 {
        [6, 6, 6, 17, 17, 132, 1, 58, 47, 0, 43, 44, 60, 51, 255].randomElement(using: &generator)
            ?? 6
    }

    private static func payload(with generator: inout some RandomNumberGenerator) -> [UInt8] {
        let ports: [UInt16] = [80, 80, 443, 40000, 40001, 255, 256, 0, 65535, 0x0300, 0x8000]
        var bytes = Frame.ports(
            ports.randomElement(using: &generator) ?? 0,
            ports.randomElement(using: &generator) ?? 0,
            more: Int.random(in: 0...12, using: &generator))
        if Int.random(in: 0..<4, using: &generator) == 0 {
            // An ICMP error, perhaps, and what it quotes.
            let quoted = Site.all4.randomElement(using: &generator) ?? Site.a4
            bytes = [
                [3, 11, 5, 8, 1, 128].randomElement(using: &generator) ?? 3, 0, 0, 0, 0, 0, 0, 0,
            ]
            bytes += Frame.ip(
                from: quoted, to: Site.a4, protocol: 17, Frame.ports(53, 40000, more: 4))
        }
        return bytes
    }

    /// One frame in four gets a random byte or a random end.
    private static func distort(
        _ bytes: inout [UInt8], with generator: inout some RandomNumberGenerator
    ) {
        switch Int.random(in: 0..<12, using: &generator) {
        case 0: bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator)))
        case 1:
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
                UInt8.random(in: 0...255, using: &generator)
        case 2:
            let offset = Int.random(in: 12..<24, using: &generator)
            bytes[offset] = UInt8.random(in: 0...255, using: &generator)
        default: break
        }
    }
}
