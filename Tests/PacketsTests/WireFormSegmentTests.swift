import Addressing
import ObservationFixtures
import Packets
import Testing

/// What the segments of a GSO packet have in common with those that were sent.
@Suite("Segments of received packets")
struct WireFormSegmentTests {
    /// Packets that the kernel has chained, and the packets as they were sent, in hexadecimal.
    struct Chain: Sendable, CustomTestStringConvertible {
        let kind: Offload.Segmentation
        let ethernet: String
        let chained: String
        let sent: [String]

        init(
            _ kind: Offload.Segmentation, _ ethernet: String, _ chained: String, _ sent: [String]
        ) {
            (self.kind, self.ethernet, self.chained, self.sent) = (kind, ethernet, chained, sent)
        }

        var testDescription: String { "\(kind), \(ethernet.suffix(4))" }

        func bytes(_ packet: String) -> [UInt8] {
            let digits = (ethernet + packet).filter { $0 != " " }.map { $0 }
            return stride(from: 0, to: digits.count, by: 2).compactMap {
                UInt8(String(digits[$0...$0 + 1]), radix: 16)
            }
        }
    }

    static let chains: [Chain] = [
        Chain(
            .tcpOverIPv4, "0200000000010200000000020800",
            "4500003112344000400610a70af401020af40103"
                + " 9c401f9001020304000000085010ffff133f0000616263646566676869",
            [
                "4500002c12344000400610ac0af401020af40103"
                    + " 9c401f9001020304000000085010ffff133f000061626364",
                "4500002c12354000400610ab0af401020af40103"
                    + " 9c401f9001020308000000085010ffff0b33000065666768",
                "4500002912364000400610ad0af401020af40103"
                    + " 9c401f900102030c000000085010ffff6f00000069",
            ]),
        Chain(
            .udp, "0200000000010200000000020800",
            "4500002512344000401110a80af401020af40103"
                + " 9c401f9000116752616263646566676869",
            [
                "4500002012344000401110ad0af401020af40103"
                    + " 9c401f90000c675261626364",
                "4500002012354000401110ac0af401020af40103"
                    + " 9c401f90000c5f4a65666768",
                "4500001d12364000401110ae0af401020af40103"
                    + " 9c401f900009c31e69",
            ]),
        Chain(
            .tcpOverIPv6, "02000000000102000000000286dd",
            "60000000001d0640 fd000000000000000000000000000002 fd000000000000000000000000000003"
                + " 9c401f9001020304000000085018ffff311d0000616263646566676869",
            [
                "6000000000180640 fd000000000000000000000000000002 fd000000000000000000000000000003"
                    + " 9c401f9001020304000000085018ffff311d000061626364",
                "6000000000180640 fd000000000000000000000000000002 fd000000000000000000000000000003"
                    + " 9c401f9001020308000000085018ffff2911000065666768",
                "6000000000150640 fd000000000000000000000000000002 fd000000000000000000000000000003"
                    + " 9c401f900102030c000000085018ffff8cde000069",
            ]),
        Chain(
            .udp, "02000000000102000000000286dd",
            "6000000000111140 fd000000000000000000000000000002 fd000000000000000000000000000003"
                + " 9c401f9000118538616263646566676869",
            [
                "60000000000c1140 fd000000000000000000000000000002 fd000000000000000000000000000003"
                    + " 9c401f90000c853861626364",
                "60000000000c1140 fd000000000000000000000000000002 fd000000000000000000000000000003"
                    + " 9c401f90000c7d3065666768",
                "6000000000091140 fd000000000000000000000000000002 fd000000000000000000000000000003"
                    + " 9c401f900009e10469",
            ]),
    ]

    /// Their checksums are complete, so nothing says where checksums are.
    @Test("that the kernel has chained are the packets that were sent", arguments: chains)
    func chained(chain: Chain) {
        let frame = chain.bytes(chain.chained)
        let offload = Offload(
            segmentation: chain.kind, segmentByteCount: 4, headerByteCount: UInt16(frame.count - 9))
        let form = WireForm(frame.wire, wireByteCount: frame.count, offload)
        #expect(form.repair == .segments(count: 3))
        #expect(written(form, frame) == chain.sent.map { chain.bytes($0) })
    }

    @Test("of which there is one keep the checksum that was sent")
    func alone() {
        var original = GSOPacket().with { $0.payload = [1, 2, 3] }
        (original.segmentByteCount, original.isChained, original.isSumRight) = (3, true, false)
        let frame = original.bytes
        let form = WireForm(frame.wire, wireByteCount: frame.count, original.offload)
        #expect(form.repair == .none && written(form, frame) == [frame])
    }

    @Test(
        "are numbered, unless their sender forbids fragments and numbers none",
        arguments: [
            (0, true, [0, 0, 0]), (0, false, [0, 1, 2]), (0x1234, true, [0x1234, 0x1235, 0x1236]),
            (0xffff, true, [0xffff, 0, 1]),
        ] as [(UInt16, Bool, [UInt16])])
    func identification(first: UInt16, dontFragment: Bool, expected: [UInt16]) throws {
        for isUDP in [false, true] {
            let original = GSOPacket().with {
                ($0.payload, $0.segmentByteCount) = ([UInt8](repeating: 1, count: 250), 100)
                ($0.identification, $0.dontFragment, $0.isUDP) = (first, dontFragment, isUDP)
            }
            let frame = original.bytes
            let form = WireForm(frame.wire, wireByteCount: frame.count, original.offload)
            let segments = try #require(written(form, frame))
            #expect(segments.map { $0.wire.uint16(at: 18) } == expected)
            #expect(Receiver(original: original, tag: nil).fault(in: segments) == nil)
        }
    }

    @Test(
        "all have CWR, unless it answers a congestion mark",
        arguments: [(true, [0x90, 0x10, 0x18]), (false, [0x90, 0x90, 0x98])] as [(Bool, [UInt8])])
    func congestion(answers: Bool, expected: [UInt8]) throws {
        for family in IPAddress.Family.allCases {
            let original = GSOPacket().with {
                ($0.payload, $0.segmentByteCount) = ([UInt8](repeating: 1, count: 250), 100)
                ($0.family, $0.flags, $0.answersCongestion) = (family, 0x98, answers)
            }
            let frame = original.bytes
            let form = WireForm(frame.wire, wireByteCount: frame.count, original.offload)
            let segments = try #require(written(form, frame))
            let offset = original.transportOffset + 13
            #expect(segments.map { $0.wire.uint8(at: offset) } == expected)
            #expect(Receiver(original: original, tag: nil).fault(in: segments) == nil)
        }
    }

    @Test("may be as many as the largest packet has, but not empty ones")
    func largest() throws {
        let original = GSOPacket().with {
            ($0.payload, $0.segmentByteCount) = ([UInt8](repeating: 7, count: 524_000), 76)
        }
        let frame = original.bytes
        let form = WireForm(frame.wire, wireByteCount: frame.count, original.offload)
        #expect(form.repair == .segments(count: 6895))
        let segments = try #require(written(form, frame))
        #expect(Receiver(original: original, tag: nil).fault(in: segments) == nil)
        let small = WireForm(
            frame.wire, wireByteCount: frame.count,
            original.with { $0.segmentByteCount = WireForm.segmentByteCountMin - 1 }.offload)
        #expect(small.repair == .impossible(.segmentCount))
    }
}
