import Addressing
import FuzzSupport
import Glibc
import ObservationFixtures
import Packets
import Testing

/// Frames and offloads that do not fit each other, as a pod can send them.
@Suite("A wire form that is impossible")
struct WireFormRefusalTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let obstacle: WireForm.Obstacle
        let frame: [UInt8]
        let offload: Offload
        var missingByteCount = 0
        var testDescription: String { name }

        init(
            _ name: String, _ obstacle: WireForm.Obstacle, _ frame: GSOPacket,
            _ offload: Offload? = nil, edit: (inout [UInt8]) -> Void = { _ in }
        ) {
            var bytes = frame.bytes
            edit(&bytes)
            (self.name, self.obstacle, self.frame) = (name, obstacle, bytes)
            self.offload = offload ?? frame.offload
        }

        func cut(to byteCount: Int) -> Case {
            var copy = self
            copy.missingByteCount = frame.count - byteCount
            return copy
        }
    }

    private static func frame(
        _ family: IPAddress.Family = .ipv4, isUDP: Bool = false, by size: Int = 0,
        payload byteCount: Int = 500
    ) -> GSOPacket {
        var frame = GSOPacket()
        (frame.family, frame.isUDP, frame.segmentByteCount) = (family, isUDP, size)
        frame.payload = [UInt8](repeating: 7, count: byteCount)
        return frame
    }

    private static func checksum(at start: Int, _ offset: Int) -> Offload {
        Offload(
            needsChecksum: true, checksumStart: UInt16(clamping: start),
            checksumOffset: UInt16(clamping: offset))
    }

    private static func segmentation(
        _ kind: Offload.Segmentation, by size: Int, at start: Int = 34, _ offset: Int = 16,
        needsChecksum: Bool = true
    ) -> Offload {
        Offload(
            needsChecksum: needsChecksum, checksumStart: UInt16(start),
            checksumOffset: UInt16(offset), segmentation: kind, segmentByteCount: UInt16(size))
    }

    private static let fragments: [Case] = {
        var fragments = [
            Case("a first fragment", .fragment, frame(isUDP: true)) { $0[20] = 0x20 },
            Case("a later fragment", .fragment, frame(isUDP: true)) { $0[21] = 3 },
            Case("segments of a fragment", .fragment, frame(by: 100)) { $0[20] = 0x20 },
        ]
        var ipv6 = frame(.ipv6, isUDP: true)
        ipv6.extensions = [(44, [0, 1, 0, 0, 0, 9])]
        fragments.append(Case("a fragment over IPv6", .fragment, ipv6))
        return fragments
    }()

    private static let routes: [Case] = {
        var loose = frame(by: 100)
        loose.ipOptions = [1, 131, 7, 4, 10, 0, 0, 9]
        var damaged = frame()
        damaged.ipOptions = [7, 0, 0, 0]
        var tooLong = frame()
        tooLong.ipOptions = [7, 9, 0, 0]
        var routing = frame(.ipv6)
        routing.extensions = [(43, [4, 1, 0, 0, 0, 0] + [UInt8](repeating: 1, count: 16))]
        return [
            Case("a source route", .sourceRoute, loose),
            Case("an IPv6 route", .sourceRoute, routing),
            Case("an option without length", .headers, damaged),
            Case("an option longer than the header", .headers, tooLong),
        ]
    }()

    static let cases: [Case] =
        fragments + routes + [
            Case("cut by its block", .cutShort, frame(by: 100)).cut(to: 200),
            Case("cut within its headers", .cutShort, frame()).cut(to: 40),
            Case("ARP", .notIP, frame()) { $0[13] = 0x06 },
            Case(
                "three tags", .notIP,
                frame().with {
                    $0.tags = [VLANTag](repeating: VLANTag(tag: 1, etherType: 0x8100), count: 3)
                }),
            Case("of no bytes", .notIP, frame()) { $0 = [] },
            Case("of 13 bytes", .notIP, frame()) { $0.removeSubrange(13...) },
            Case("IPv6 in an IPv4 frame", .headers, frame()) { $0[14] = 0x65 },
            Case("an IP header of 16 bytes", .headers, frame()) { $0[14] = 0x44 },
            Case("an IP header longer than the packet", .headers, frame(payload: 0)) {
                $0[14] = 0x4f
            },
            Case("half an IP header", .headers, frame()) { $0.removeSubrange(30...) },
            Case("half a TCP header", .headers, frame(by: 100)) { bytes in
                bytes.removeSubrange(50...)
                (bytes[16], bytes[17]) = (0, 36)
            },
            Case("a TCP header of 16 bytes", .headers, frame(by: 100)) { $0[46] = 0x40 },
            Case("a TCP header longer than the packet", .headers, frame(by: 9, payload: 30)) {
                $0[46] = 0xf0
            },
            Case(
                "extension headers of 2 KiB", .headers,
                frame(.ipv6, by: 100).with {
                    $0.extensions = [(60, [UInt8](repeating: 0, count: 2046))]
                }),
            Case(
                "authenticated", .headers,
                frame(.ipv6, by: 100).with {
                    $0.extensions = [(51, [UInt8](repeating: 0, count: 6))]
                }),
            Case("longer by its IP header", .length, frame()) { $0[16] += 1 },
            Case("shorter by its IP header", .length, frame(by: 100)) { $0[17] -= 1 },
            Case("of no length", .length, frame()) { ($0[16], $0[17]) = (0, 0) },
            Case("longer by its UDP header", .length, frame(isUDP: true)) { $0[38] += 1 },
            Case("shorter by its UDP header", .length, frame(isUDP: true, by: 99)) { $0[39] -= 1 },
            Case("a checksum in the IP header", .checksumOffset, frame(), checksum(at: 14, 10)),
            Case("a checksum behind the end", .checksumOffset, frame(), checksum(at: 34, 519)),
            Case("a checksum far behind", .checksumOffset, frame(), checksum(at: 65535, 65534)),
            Case("another field of TCP", .checksumOffset, frame(), checksum(at: 34, 4)),
            Case("a checksum in TCP's payload", .checksumOffset, frame(), checksum(at: 60, 6)),
            Case("across two words", .checksumOffset, frame(isUDP: true), checksum(at: 42, 7)),
            Case("in the UDP header", .checksumOffset, frame(isUDP: true), checksum(at: 36, 4)),
            Case(
                "segments with it elsewhere", .checksumOffset, frame(),
                segmentation(.tcpOverIPv4, by: 100, at: 54)),
            Case("SCTP in a tunnel", .tunnel, frame(isUDP: true), checksum(at: 100, 8)),
            Case(
                "TCP in UDP", .tunnel, frame(isUDP: true),
                segmentation(.tcpOverIPv4, by: 100, at: 84)),
            Case("UDP in UDP", .tunnel, frame(isUDP: true), segmentation(.udp, by: 100, at: 84, 6)),
            Case(
                "TCP over IPv6 in TCP over IPv4", .tunnel, frame(),
                segmentation(.tcpOverIPv6, by: 100)),
            Case("UDP of TCP", .tunnel, frame(), segmentation(.udp, by: 100)),
            Case(
                "UDP fragmentation", .gsoType, frame(isUDP: true),
                segmentation(.other(3), by: 100)),
            Case(
                "a kind of tomorrow", .gsoType, frame(),
                segmentation(.other(0x21), by: 100)),
            Case("segments of 0 bytes", .segmentSize, frame(), segmentation(.tcpOverIPv4, by: 0)),
            Case("segments larger than the frame", .segmentSize, frame(by: 555)),
            Case(
                "segments larger than any packet", .segmentSize,
                frame(.ipv6, by: 65_500, payload: 90_000).with {
                    $0.tcpOptions = [UInt8](repeating: 1, count: 40)
                }),
            Case("too many segments", .segmentCount, frame(by: 1, payload: 8193)),
        ]

    @Test("says why, and leaves the frame as it is", arguments: cases)
    func refused(_ test: Case) {
        let frame = Array(test.frame.dropLast(test.missingByteCount))
        for tag in [nil, VLANTag(tag: 5, etherType: 0x88a8)] {
            let form = WireForm(
                frame.wire, wireByteCount: test.frame.count, test.offload, vlan: tag)
            #expect(form.repair == .impossible(test.obstacle))
            var expected = frame
            if tag != nil, frame.count >= 12 {
                expected.insert(contentsOf: [0x88, 0xa8, 0, 5], at: 12)
            }
            #expect(written(form, frame) == [expected])
            #expect(
                form.wireByteCount(ofSegment: 0) == expected.count + test.missingByteCount)
        }
    }

    @Test("is tested for every reason there is")
    func complete() {
        #expect(Set(Self.cases.map(\.obstacle)) == Set(WireForm.Obstacle.allCases))
    }

    @Test("is no trap, whatever the frame and its offload", arguments: 0..<4 as Range<UInt64>)
    func garbage(seed: UInt64) throws {
        var generator = RandomNumbers(seed)
        let clock = ContinuousClock()
        // Longer if asked to.
        let text = unsafe getenv("FUZZ_SECONDS")
        let seconds = unsafe text.flatMap { unsafe Int(String(cString: $0)) } ?? 0
        let end = clock.now + .seconds(seconds)
        var repairedCount = 0
        var round = 0
        while round < 2000 || clock.now < end {
            round += 1
            let (frame, offload) = Self.garbage(with: &generator)
            let missing = Int.random(in: 0..<20, using: &generator) == 0 ? 100 : 0
            let form = WireForm(
                frame.wire, wireByteCount: frame.count + missing, offload,
                vlan: Bool.random(using: &generator) ? VLANTag(tag: 1, etherType: 0x8100) : nil)
            switch form.repair {
            case .impossible, .none: #expect(form.segmentCount == 1)
            case .checksum, .segments: repairedCount += 1
            }
            let limit = [0, 1, 40, 64, 100, .max].randomElement(using: &generator) ?? 0
            let segments = try #require(written(form, frame, keeping: limit))
            if limit == .max {
                #expect(segments.reduce(0) { $0 + $1.count } == form.byteCount)
            }
        }
        #expect(repairedCount > round / 50)
    }

    /// Returns a repairable frame with some bytes changed, and its offload or any other.
    private static func garbage(
        with generator: inout RandomNumbers
    ) -> ([UInt8], Offload) {
        let original = GSOPacket.random(with: &generator, payloadByteCountMax: 300)
        var frame = original.bytes
        let placeCount = min(frame.count, original.payloadOffset + 4)
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            frame[Int.random(in: 0..<placeCount, using: &generator)] = UInt8.random(
                in: 0...255, using: &generator)
        }
        switch Int.random(in: 0..<8, using: &generator) {
        case 0: frame.removeLast(Int.random(in: 0...frame.count, using: &generator))
        case 1: frame += [1, 2, 3]
        case 2: frame = frame.map { _ in UInt8.random(in: 0...255, using: &generator) }
        default: break
        }
        guard Int.random(in: 0..<3, using: &generator) == 0 else {
            return (frame, original.offload)
        }
        var header = (0..<10).map { _ in UInt8.random(in: 0...255, using: &generator) }
        // Often something that is almost right.
        if Bool.random(using: &generator) {
            (header[0], header[1]) = (1, [0, 1, 4, 5, 0x81].randomElement(using: &generator) ?? 0)
            (header[5], header[7], header[9]) = (0, 0, 0)
        }
        return (frame, Offload(header.wire, at: 0))
    }
}
