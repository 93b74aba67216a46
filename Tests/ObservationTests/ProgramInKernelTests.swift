import Addressing
import BPF
import FuzzSupport
import KernelSupport
import Linux
import Observation
import ObservationFixtures
import PacketRing
import Testing

/// Edges' programs, run by the kernel on frames that really pass an interface.
///
/// Frames arrive if the rule in plain Swift reports them or the program punts them, and no others.
@Suite("An edge's program in the kernel", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct ProgramInKernelTests {
    static let frameCount = 20_000
    static let batchCount = 200
    static let attemptCount = 10

    /// The MAC address of the pod's interface, which the rule knows as another pod's.
    ///
    /// So inside the pod only the kernel can have said that frames to it are the pod's.
    private static let podMAC = Site.bMAC

    @Test(
        "keeps what the rule in plain Swift reports", arguments: Direction.allCases,
        TapSide.allCases)
    func agrees(direction: Direction, side: TapSide) throws {
        try inOwnNetwork {
            try shell(
                """
                ip link add here type veth peer there && ip link set there address \(Self.podMAC) \
                && ip link set here up && ip link set there up
                """
            )
            try awaitLinks()
            let (here, there) = (try interfaceIndex("here"), try interfaceIndex("there"))
            let point = Site.atA.captured(at: side)
            let program = EdgeProgram(Site.rule, at: point, snaplen: 262_144)
            // A block is used up after 14 ms, full or not, and sending a batch can take seconds.
            var ring = try Ring(
                on: side == .host ? here : there, program.program,
                shape: Ring.Shape(byteCountMax: 32 << 20))
            let sender = try PacketSender(on: direction == .toPod ? here : there)
            var generator = RandomNumbers((direction == .toPod ? 11 : 12) + (side == .pod ? 2 : 0))
            var keptCount = 0
            for _ in 0..<Self.frameCount / Self.batchCount {
                let sent = (0..<Self.batchCount).map { _ in GeneratedFrame.make(with: &generator) }
                    .filter(Self.canBeSent)
                let expected = sent.filter { Self.isWanted($0, direction, at: point) }
                keptCount += expected.count
                // The kernel drops some where others keep its queues full, but not each time.
                var seen: [[UInt8]] = []
                for _ in 0..<Self.attemptCount where seen != expected || seen.isEmpty {
                    for frame in sent { try sender.send(frame) }
                    seen = try Collected(from: &ring, count: expected.count).frames
                }
                #expect(seen == expected, "\(seen.count) frames of \(expected.count)")
                guard seen == expected else { return }
            }
            #expect((Self.frameCount / 10..<Self.frameCount).contains(keptCount))
        }
    }

    /// The kernel sends no frame without a header, and takes VLAN tags out of those that have one.
    private static func canBeSent(_ frame: [UInt8]) -> Bool {
        frame.count >= 14 && ![[0x81, 0], [0x88, 0xa8]].contains(Array(frame[12..<14]))
    }

    private static func isWanted(
        _ frame: [UInt8], _ direction: Direction, at point: ObservationPoint
    ) -> Bool {
        let isToPodItself =
            point.side == .pod && direction == .toPod && Array(frame.prefix(6)) == podMAC.bytes
        let decision = Site.rule.decision(
            on: frame.wire, direction: direction, at: point, isToPodItself: isToPodItself)
        let verdict = EdgeProgram(Site.rule, at: point, snaplen: 262_144)
            .verdict(
                on: frame, direction: direction, at: point.side, isToPodItself: isToPodItself)
        return verdict == .punt || decision.isReported
    }

    @Test("leaves a filter that asks for the direction to user space inside a pod")
    func directionFilter() throws {
        // What `tcpdump -ddd outbound` prints for Ethernet.
        let filter = try Program(checking: [
            Instruction(.loadHalf, Ancillary.packetTypeOffset),
            Instruction(.jumpIfEqual, Ancillary.outgoing, ifTrue: 0, ifFalse: 1),
            Instruction(.keep, 262_144),
            Instruction(.keep, 0),
        ])
        for side in TapSide.allCases {
            let program = EdgeProgram(
                Site.rule, at: Site.atA.captured(at: side), filter: filter, snaplen: 262_144)
            #expect(program.includesFilter == (side == .host) && program.decides)
        }
    }

    @Test("goes on to a client's filter, and takes as many bytes as that one keeps")
    func filter() throws {
        try inOwnNetwork {
            try shell(
                "ip link add here type veth peer there && ip link set here up && ip link set there up"
            )
            try awaitLinks()
            let (here, there) = (try interfaceIndex("here"), try interfaceIndex("there"))
            // What `tcpdump -ddd udp` prints for Ethernet and IPv4, but for 60 bytes.
            let filter = try Program(checking: [
                Instruction(.loadHalf, 12),
                Instruction(.jumpIfEqual, 0x800, ifTrue: 0, ifFalse: 3),
                Instruction(.loadByte, 23),
                Instruction(.jumpIfEqual, 17, ifTrue: 0, ifFalse: 1),
                Instruction(.keep, 60),
                Instruction(.keep, 0),
            ])
            let program = EdgeProgram(Site.rule, at: Site.atA, filter: filter, snaplen: 1000)
            #expect(program.includesFilter)
            var ring = try Ring(on: here, program.program, shape: Ring.Shape(byteCountMax: 1 << 20))
            let sender = try PacketSender(on: there)
            for number in [6, 17] as [UInt8] {
                let packet = Frame.ip(
                    from: Site.a4, to: Site.outside4, protocol: number,
                    Frame.ports(80, 80, more: 90))
                try sender.send(
                    Frame.ethernet(to: Site.bridgeMAC, from: Site.aMAC, type: 0x800, packet))
            }
            let seen = try Collected(from: &ring, count: 1)
            #expect(seen.frames.map(\.count) == [60] && seen.wireByteCounts == [128])
        }
    }
}
