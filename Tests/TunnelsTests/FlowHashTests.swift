import Addressing
import FuzzSupport
import ObservationFixtures
import Packets
import Testing
import Tunnels

private func flowHash(_ frame: [UInt8]) -> UInt32 { FlowHash.hash(of: frame.wire) }

@Suite("The hash of a flow")
struct FlowHashTests {
    private static func udp(
        _ source: IPAddress, _ sourcePort: UInt16, _ destination: IPAddress,
        _ destinationPort: UInt16, fragment: UInt16 = 0
    ) -> [UInt8] {
        Frame.ethernet(
            to: Site.bMAC, from: Site.aMAC, type: Frame.type(of: source),
            Frame.ip(
                from: source, to: destination, protocol: IPProtocol.udp, fragment: fragment,
                Frame.ports(sourcePort, destinationPort, more: 8)))
    }

    @Test("is the same in both directions, for random frames", arguments: Fuzz.seeds)
    func isSymmetric(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var numbers = RandomNumbers(seed)
            for _ in 0..<50 {
                let frame = GeneratedFrame.make(with: &numbers)
                let hash = flowHash(frame)
                guard flowHash(Self.reversed(frame)) == hash else {
                    throw Fuzz.Complaint("another hash in reverse: \(frame)")
                }
                for tags in [[0x8100], [0x88a8, 0x8100]] as [[UInt16]] {
                    guard frame.count >= EthernetHeader.byteCount,
                        !VLANTag.isTag(frame.wire.uint16(at: EthernetHeader.etherType))
                    else { break }
                    guard flowHash(Self.adding(tags, to: frame)) == hash else {
                        throw Fuzz.Complaint("another hash behind \(tags): \(frame)")
                    }
                }
            }
        }
    }

    /// A frame of the same flow in the other direction.
    static func reversed(_ frame: [UInt8]) -> [UInt8] {
        var frame = frame
        guard frame.count >= EthernetHeader.byteCount else { return frame }
        swap(&frame, EthernetHeader.destination, EthernetHeader.source, count: 6)
        guard let packet = Headers(frame.wire).packet else { return frame }
        let family = packet.source.family
        let source = EthernetHeader.byteCount + family.sourceOffset
        swap(&frame, source, source + family.byteCount, count: family.byteCount)
        // An echo's identifier stands for both ports.
        if packet.ports != nil, IPProtocol.hasPorts(packet.transport),
            let offset = packet.transportOffset
        {
            swap(&frame, offset, offset + 2, count: 2)
        }
        return frame
    }

    private static func swap(_ frame: inout [UInt8], _ left: Int, _ right: Int, count: Int) {
        for index in 0..<count { frame.swapAt(left + index, right + index) }
    }

    static func adding(_ tags: [UInt16], to frame: [UInt8]) -> [UInt8] {
        let tags = tags.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff), 0, 7] }
        return frame[..<EthernetHeader.etherType] + tags + frame[EthernetHeader.etherType...]
    }

    @Test("differs with each part of a flow")
    func differs() {
        let frames = [
            Self.udp(Site.a4, 40_000, Site.c4, 53), Self.udp(Site.a4, 40_001, Site.c4, 53),
            Self.udp(Site.a4, 40_000, Site.c4, 54), Self.udp(Site.a4, 53, Site.c4, 40_000),
            Self.udp(Site.b4, 40_000, Site.c4, 53), Self.udp(Site.a4, 40_000, Site.b4, 53),
            Self.udp(Site.all6[0], 40_000, Site.all6[1], 53),
            Self.udp(Site.all6[0], 40_000, Site.all6[2], 53),
        ]
        #expect(Set(frames.map { flowHash($0) }).count == frames.count)
    }

    @Test("of a fragment is that of its addresses")
    func fragments() {
        let first = flowHash(Self.udp(Site.a4, 40_000, Site.c4, 53, fragment: 0x2000))
        let last = flowHash(Self.udp(Site.a4, 1, Site.c4, 2, fragment: 0x0010))
        #expect(first == last)
        let back = flowHash(Self.udp(Site.c4, 3, Site.a4, 4, fragment: 0x0010))
        #expect(first == back)
        #expect(first != flowHash(Self.udp(Site.b4, 3, Site.a4, 4, fragment: 1)))
    }

    @Test("of a frame without IP is that of its MAC addresses and EtherType")
    func others() {
        func hash(_ to: MACAddress, _ from: MACAddress, _ type: UInt16) -> UInt32 {
            flowHash(Frame.ethernet(to: to, from: from, type: type, [1, 2, 3, 4]))
        }
        let one = hash(Site.aMAC, Site.bMAC, 0x0806)
        #expect(one == hash(Site.bMAC, Site.aMAC, 0x0806))
        #expect(one != hash(Site.aMAC, Site.bMAC, 0x88cc))
        #expect(one != hash(Site.aMAC, .broadcast, 0x0806))
        // A length is no type.
        #expect(hash(Site.aMAC, Site.bMAC, 4) == hash(Site.bMAC, Site.aMAC, 60))
        #expect(flowHash(([] as [UInt8])) == 0)
    }

    @Test("spreads flows evenly over ports and parts")
    func spreads() {
        var counts = [Int](repeating: 0, count: 64)
        let count = 64 * 256
        for number in 0..<count {
            let frame = Self.udp(
                IPAddress(ipv4: 0x0af4_0102), UInt16(32_768 + number), IPAddress(ipv4: 0x0af4_0203),
                80)
            let hash = flowHash(frame)
            let port = FlowHash.port(of: hash)
            #expect(FlowHash.ports.contains(port))
            let part = FlowHash.index(of: hash, count: 64)
            #expect(part == Int(port - FlowHash.ports.lowerBound) / 256)
            counts[part] += 1
        }
        // 256 each, give or take: six standard deviations of 16.
        #expect(counts.allSatisfy { (160...352).contains($0) }, "\(counts)")
        #expect(FlowHash.index(of: .max, count: 1) == 0 && FlowHash.index(of: .max, count: 3) == 2)
        #expect(FlowHash.port(of: 0) == 49_152 && FlowHash.port(of: .max) == 65_535)
    }

    /// Other programs may rely on the port of a flow, so that a change of it has to be meant.
    @Test("stays as it is")
    func stays() {
        let hash = flowHash(Self.udp(Site.a4, 40_000, Site.c4, 53))
        #expect(hash == 3_376_002_673)
    }
}
