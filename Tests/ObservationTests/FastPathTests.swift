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
                    transports.map { transport in
                        Frame.ethernet(
                            to: Site.aMAC, from: Site.bridgeMAC, type: Frame.type(of: source),
                            Frame.ip(
                                from: source, to: destination, protocol: transport, ports))
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
                let isPunted = program.verdict(on: frame, direction: direction) == .punt
                let isCleared = fastPath.clears(frame.wire)
                #expect(isCleared == !isPunted, "\(frame)")
                if isCleared { clearedCount += 1 }
            }
        }
        #expect(clearedCount > 500)
    }

    @Test("clears no TCP segment with SYN or RST, and all that have neither", arguments: [
        0x00, 0x01, 0x08, 0x10, 0x11, 0x18, 0x19, 0x20, 0xf9, 0x02, 0x12, 0xc2, 0x04, 0x14, 0x06, 0xff,
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
            for direction in Direction.allCases where isCleared {
                #expect(program.verdict(on: frame, direction: direction) != .punt, "\(frame)")
            }
            if isCleared { clearedCount += 1 }
        }
        #expect(clearedCount > 150)
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
