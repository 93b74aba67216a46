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
    private static func ordinaryFrames() -> [[UInt8]] {
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
                                    Frame.ports(80, 40_000)))
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
