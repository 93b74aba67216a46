import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing

/// The contract of the fast path with the program: the program punts nothing that it clears.
///
/// `DifferentialTests` check that with generated frames. These tests check the other direction,
/// which makes the fast path fast: it clears every ordinary frame about which the program decides.
@Suite("The fast path")
struct FastPathTests {
    /// TCP, UDP and SCTP packets between any two addresses, with all of their headers.
    ///
    /// The byte in which TCP has its flags is the same in all of them.
    private static func ordinaryFrames(flags: UInt8 = 0x10) -> [[UInt8]] {
        var ports = Frame.ports(80, 40_000)
        ports[TCPHeader.flags] = flags
        return frames(ports)
    }

    private static func frames(_ ports: [UInt8]) -> [[UInt8]] {
        let transports = [IPProtocol.tcp, IPProtocol.udp, IPProtocol.sctp]
        return [Site.all4, Site.all6].flatMap { addresses in
            addresses.flatMap { source in
                addresses.flatMap { destination in
                    transports.flatMap { transport in
                        [Site.bridgeMAC, Site.bMAC].map { mac in
                            Frame.ethernet(
                                to: Site.aMAC, from: mac, type: Frame.type(of: source),
                                Frame.ip(
                                    from: source, to: destination, protocol: transport,
                                    ports))
                        }
                    }
                }
            }
        }
    }

    @Test(
        "clears an ordinary frame if the program decides about it, and only then",
        arguments: [
            Site.rule, DifferentialTests.Variant.manyNetworks.rule,
            DifferentialTests.Variant.overlappingServices.rule,
            DifferentialTests.Variant.noPods.rule,
        ])
    func ordinary(rule: Rule) {
        let program = EdgeProgram(rule, at: Site.atA, snaplen: 262_144)
        let fastPath = FastPath(rule)
        var clearedCount = 0
        for frame in Self.ordinaryFrames() {
            for direction in Direction.allCases {
                let verdict = program.verdict(on: frame, direction: direction)
                let isCleared = fastPath.clears(
                    frame.wire, toPod: direction == .toPod, at: EdgeMACs(Site.atA))
                // What the kernel drops never comes.
                if verdict != .drop { #expect(isCleared == (verdict == .keep), "\(frame)") }
                if isCleared { clearedCount += 1 }
            }
        }
        #expect(clearedCount > 500)
    }

    @Test(
        "clears no TCP segment with SYN or RST, and all that have neither",
        arguments: [
            0x00, 0x01, 0x08, 0x10, 0x11, 0x18, 0x19, 0x20, 0xf9, 0x02, 0x12, 0xc2, 0x04, 0x14,
            0x06, 0xff,
        ] as [UInt8])
    func openings(flags: UInt8) {
        let program = EdgeProgram(Site.rule, at: Site.atA, snaplen: 262_144)
        let fastPath = FastPath(Site.rule)
        let opens = flags & (TCPHeader.syn | TCPHeader.rst) != 0
        var clearedCount = 0
        for (frame, ordinary) in zip(Self.ordinaryFrames(flags: flags), Self.ordinaryFrames()) {
            let isIPv4 = frame.wire.uint16(at: EthernetHeader.etherType) == EtherType.ipv4
            let transport =
                frame[isIPv4 ? PlainFrame.IPv4.protocolNumber : PlainFrame.IPv6.protocolNumber]
            let isCleared = fastPath.clears(frame.wire)
            if transport == IPProtocol.tcp, opens {
                #expect(!isCleared, "\(frame)")
            } else {
                #expect(isCleared == fastPath.clears(ordinary.wire), "\(frame)")
            }
            for direction in Direction.allCases {
                let isDecided = fastPath.clears(
                    frame.wire, toPod: direction == .toPod, at: EdgeMACs(Site.atA))
                guard isDecided else { continue }
                #expect(program.verdict(on: frame, direction: direction) != .punt, "\(frame)")
            }
            if isCleared { clearedCount += 1 }
        }
        #expect(clearedCount > 150)
    }

    @Test(
        "decides about ordinary SYNs and resets between the rule's addresses, as the slow path does",
        arguments: [
            Site.rule, DifferentialTests.Variant.manyNetworks.rule,
            DifferentialTests.Variant.overlappingServices.rule,
            DifferentialTests.Variant.podsEverywhere.rule, DifferentialTests.Variant.noPods.rule,
        ], [0x02, 0x12, 0x04, 0x14] as [UInt8])
    func decides(rule: Rule, flags: UInt8) {
        let fastPath = FastPath(rule)
        var slowPath = SlowPath(rule)
        var decidedCount = 0
        for frame in Self.ordinaryFrames(flags: flags) {
            for direction in Direction.allCases {
                guard let opening = fastPath.opening(frame.wire, direction: direction) else {
                    continue
                }
                decidedCount += 1
                // No frame of these is flooded, and what is the feed itself is dropped.
                let point = ObservationPoint(
                    interfaceIndex: 11, podMAC: nil, domain: ObservationPoint.Domain([]))
                let outcome = slowPath.outcome(of: frame.wire, direction: direction, at: point)
                if outcome?.decision == .refuse(.ownFeed) { continue }
                if opening.kind == .kept {
                    #expect(outcome == .init(decision: .report(.oneEndIsNoPod)))
                } else {
                    #expect(outcome?.decision.isReported == opening.isReported)
                    #expect(opening.isSame(as: outcome?.requestPart), "\(frame)")
                }
            }
        }
        // `manyNetworks` has as many networks of services and pods as the fast path does not know.
        #expect(decidedCount > 80)
    }

    @Test("takes no padding for TCP's flags")
    func padding() {
        let fastPath = FastPath(Site.rule)
        for (source, destination) in [(Site.a4, Site.c4), (Site.a6, Site.c6)] {
            for byteCount in 4...20 {
                var ports = Frame.ports(40_000, 80)
                ports[TCPHeader.flags] = TCPHeader.syn
                let length = byteCount + (source.family == .ipv4 ? IPv4Header.byteCount : 0)
                let frame = Frame.ethernet(
                    to: Site.bridgeMAC, from: Site.aMAC, type: Frame.type(of: source),
                    Frame.ip(
                        from: source, to: destination, protocol: IPProtocol.tcp, length: length,
                        ports))
                let opening = fastPath.opening(frame.wire, direction: .fromPod)
                #expect((opening == nil) == (byteCount <= TCPHeader.flags), "\(byteCount)")
                let isCleared = fastPath.clears(frame.wire)
                #expect(!isCleared)
            }
        }
    }

    @Test("clears no TCP segment that is cut before its flags")
    func cutBeforeFlags() {
        let fastPath = FastPath(Site.rule)
        for (source, destination) in [(Site.a4, Site.c4), (Site.a6, Site.c6)] {
            let frame = Frame.ethernet(
                to: Site.bridgeMAC, from: Site.aMAC, type: Frame.type(of: source),
                Frame.ip(
                    from: source, to: destination, protocol: IPProtocol.tcp,
                    Frame.ports(80, 40_000)))
            let flagsEnd = frame.count - 20 + TCPHeader.flags + 1
            for byteCount in 0...frame.count {
                let isCleared = fastPath.clears(frame.wire.extracting(..<byteCount))
                #expect(isCleared == (byteCount >= flagsEnd))
            }
        }
    }

    @Test("clears no frame that is cut short, however short")
    func short() {
        let fastPath = FastPath(Site.rule)
        for (source, destination) in [(Site.a4, Site.c4), (Site.a6, Site.c6)] {
            let frame = Frame.ethernet(
                to: Site.bridgeMAC, from: Site.aMAC, type: Frame.type(of: source),
                Frame.ip(
                    from: source, to: destination, protocol: IPProtocol.udp,
                    Frame.ports(80, 40_000)))
            let portsEnd = frame.count - 16
            for byteCount in 0...frame.count {
                let isCleared = fastPath.clears(frame.wire.extracting(..<byteCount))
                #expect(isCleared == (byteCount >= portsEnd))
            }
        }
    }
}
