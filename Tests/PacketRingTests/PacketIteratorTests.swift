import Addressing
import PacketRing
import Testing

/// Blocks as the kernel writes them, and as it leaves them where it gives up on a packet.
@Suite("The packets of a block")
struct PacketIteratorTests {
    /// A slot as the kernel makes it (`tpacket_rcv` and `prb_fill_curr_block`).
    private struct Slot {
        var frame: [UInt8]
        var frameOffset = 82
        var wireByteCount: Int?
        var byteCount: Int { (frameOffset + frame.count + 7) & ~7 }

        /// With the number that leads to the next one; 0 in the last.
        func bytes(isLast: Bool) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: byteCount)
            func put(_ value: Int, at offset: Int, _ count: Int) {
                for index in 0..<count { bytes[offset + index] = UInt8(value >> (8 * index) & 255) }
            }
            put(isLast ? 0 : byteCount, at: 0, 4)
            put(1_700_000_000, at: 4, 4)
            put(frame.count, at: 12, 4)
            put(wireByteCount ?? frame.count, at: 16, 4)
            put(1, at: 20, 4)
            put(frameOffset, at: 24, 2)
            bytes.replaceSubrange(frameOffset..<frameOffset + frame.count, with: frame)
            return bytes
        }
    }

    private static func block(_ slots: [[UInt8]]) -> [UInt8] {
        [UInt8](repeating: 0xee, count: 48) + slots.joined()
    }

    /// The frames that are found, and how many that says it is.
    private static func frames(
        _ block: [UInt8], count: Int, tellsOffload: Bool = true
    ) -> (frames: [[UInt8]], count: Int) {
        var packets = PacketIterator(
            in: block.wire, from: 48, count: count, tellsOffload: tellsOffload)
        var frames: [[UInt8]] = []
        while let packet = packets.next() { frames.append(packet.bytes.array) }
        return (frames, packets.count)
    }

    private static let some = [
        Slot(frame: [1, 2, 3]), Slot(frame: Array(0..<60)), Slot(frame: [9]),
    ]

    @Test("are all there, whole, and once")
    func all() {
        let block = Self.block(
            Self.some.enumerated().map { $1.bytes(isLast: $0 == Self.some.count - 1) })
        let found = Self.frames(block, count: 3)
        #expect(found.frames == Self.some.map(\.frame))
        #expect(found.count == 3)
    }

    @Test("are those that the kernel has written, wherever it has given up", arguments: 0..<3)
    func abandonedSlot(index: Int) {
        var slots = Self.some.enumerated().map { $1.bytes(isLast: $0 == 2) }
        // By then it has written where the next one is and that there is no packet; the rest is another
        // packet's, of the ring's last lap.
        slots[index].replaceSubrange(20..<24, with: [0, 0, 0, 0])
        let found = Self.frames(Self.block(slots), count: 3)
        var expected = Self.some.map(\.frame)
        expected.remove(at: index)
        #expect(found.frames == expected)
        #expect(found.count == 2)
    }

    @Test("begin where their header ends, in a ring that does not tell the offload")
    func withoutOffload() {
        // The kernel puts the network header at a multiple of 16, so three tags in front of it leave
        // the frame this place.
        let block = Self.block([Slot(frame: [7, 7], frameOffset: 70).bytes(isLast: true)])
        #expect(Self.frames(block, count: 1, tellsOffload: false).frames == [[7, 7]])
    }

    @Test("are none where the numbers do not fit", arguments: [0, 4, 12, 24], [1, 100, 0xff_ffff])
    func nonsense(offset: Int, value: Int) {
        var block = Self.block([
            Self.some[1].bytes(isLast: false), Self.some[2].bytes(isLast: true),
        ])
        for index in 0..<(offset == 24 ? 2 : 4) {
            block[48 + offset + index] = UInt8(value >> (8 * index) & 255)
        }
        let found = Self.frames(block, count: 2)
        #expect(found.count <= 2)
        #expect(Self.frames(Array(block.prefix(60)), count: 2).count == 0)
        #expect(Self.frames(block, count: 1000).count <= 2)
    }
}
