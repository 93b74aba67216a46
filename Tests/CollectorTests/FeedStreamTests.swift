import Addressing
import CaptureFiles
import Collector
import Testing

@Suite("The stream of a feed")
struct FeedStreamTests {
    private let ethernet = SourceCounters(
        name: "a", description: "", linkType: CaptureInterface.ethernet, start: 0)
    private let cooked = SourceCounters(name: "b", description: "", linkType: 113, start: 0)

    private static func add(
        _ bytes: [UInt8], of device: SourceCounters, to stream: inout FeedStream
    ) {
        stream.add(
            bytes.wire, nanoseconds: 0x1_0000_0002, wireByteCount: bytes.count + 4, of: device)
    }

    @Test("is a pcap file of one link type, with packets cut at 65,535 bytes")
    func pcap() {
        var stream = FeedStream(PcapEncoder(), snaplen: 262_144)
        #expect(stream.preamble.isEmpty)
        stream.announce(ethernet)
        stream.announce(cooked)
        #expect(
            stream.preamble == [
                0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0xff, 0xff, 0, 0, 1, 0, 0, 0,
            ])
        Self.add([1, 2, 3], of: ethernet, to: &stream)
        Self.add([4], of: cooked, to: &stream)
        #expect(stream.otherLinkTypeCount == 1 && stream.packetEnds == [19])
        #expect(
            stream.batch == [
                4, 0, 0, 0, 0x02, 0xd8, 0x94, 0x11, 3, 0, 0, 0, 7, 0, 0, 0, 1, 2, 3,
            ])
        stream.removeBatch()
        Self.add([UInt8](repeating: 7, count: 70_000), of: ethernet, to: &stream)
        #expect(stream.packetEnds == [16 + 65_535])
        #expect(stream.batch[8..<16] == [0xff, 0xff, 0, 0, 0x74, 0x11, 1, 0])
    }

    @Test("has an interface for each device as pcapng, whatever its link type")
    func pcapng() {
        var stream = FeedStream(PcapngEncoder(), snaplen: 64)
        let section = stream.preamble.count
        #expect(section == 52)
        stream.announce(cooked)
        stream.announce(ethernet)
        stream.announce(cooked)
        #expect(stream.preamble.count == section + 2 * 44)
        #expect(stream.preamble[section + 8] == 113 && stream.preamble[section + 52] == 1)
        Self.add([1], of: ethernet, to: &stream)
        #expect(stream.batch[8] == 1 && stream.packetEnds == [36])
        #expect(stream.otherLinkTypeCount == 0)
    }

    @Test("tells names in its preamble, where a new section begins with those that hold")
    func names() throws {
        let known = KnownNames()
        var stream = FeedStream(PcapngEncoder(), snaplen: 64, known)
        let section = stream.preamble
        let first = [AddressName(try #require(IPAddress("10.0.0.1")), "web.shop")]
        known.add(first)
        stream.add(first)
        var expected = section
        PcapngEncoder().appendNames(first, to: &expected)
        #expect(stream.preamble == expected)
        // The preamble is as long as it may be after some changes.
        while stream.generation == 0 { stream.add(first) }
        #expect(stream.preamble == expected)
        let many = (0..<60_000).map { AddressName(IPAddress(ipv6High: 1, low: $0), "a.b") }
        known.add(many)
        for _ in 0..<3 { stream.add(many) }
        #expect(stream.preamble.count < FeedStream.preambleByteCountMax)
        var pcap = FeedStream(PcapEncoder(), snaplen: 64)
        pcap.add(first)
        #expect(pcap.preamble.isEmpty)
    }

    @Test("begins a new section when there are too many interfaces")
    func sections() {
        var stream = FeedStream(PcapngEncoder(), snaplen: 64)
        let devices = (0...SourceTable.countMax).map {
            SourceCounters(name: "\($0)", description: "", linkType: 1, start: 0)
        }
        for device in devices.dropLast() { stream.announce(device) }
        #expect(stream.generation == 0)
        stream.announce(devices[SourceTable.countMax])
        #expect(stream.generation == 1 && stream.preamble.count == 52 + 44)
        // The others are described again before their next packets.
        stream.announce(devices[7])
        Self.add([1], of: devices[7], to: &stream)
        #expect(stream.batch[8] == 1)
    }

    @Test("says how many packets fit")
    func packetCount() {
        var stream = FeedStream(PcapEncoder(), snaplen: 64)
        stream.announce(ethernet)
        for _ in 0..<3 { Self.add([1, 2, 3, 4], of: ethernet, to: &stream) }
        let expected = [(0, 0), (19, 0), (20, 1), (39, 1), (40, 2), (59, 2), (60, 3), (1000, 3)]
        for (byteCount, count) in expected {
            #expect(stream.packetCount(in: byteCount) == count)
        }
    }
}
