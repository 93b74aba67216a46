import BPF
import KernelSupport
import Linux
import PacketRing
import Testing

@Suite("A receive ring", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct RingTests {
    /// A pair of veths, and a ring at one end.
    private static func pair() throws -> (here: UInt32, there: UInt32) {
        try shell(
            "ip link add here type veth peer there && ip link set here up && ip link set there up")
        try awaitLinks()
        return (try interfaceIndex("here"), try interfaceIndex("there"))
    }

    private static func frame(_ number: Int, byteCount: Int = 100) -> [UInt8] {
        var frame = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: byteCount)
        frame.replaceSubrange(0..<14, with: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5])
        return frame
    }

    @Test("tells what comes from the pod from what goes to it, in order")
    func directions() throws {
        try inOwnNetwork {
            let (here, there) = try Self.pair()
            var ring = try Ring(on: here, .keepAll, shape: Ring.Shape(byteCountMax: 16 << 20))
            let inside = try PacketSender(on: here)
            let outside = try PacketSender(on: there)
            for number in 0..<100 {
                try number % 3 == 0
                    ? inside.send(Self.frame(number)) : outside.send(Self.frame(number))
            }
            let seen = try Collected(from: &ring, count: 100)
            #expect(seen.frames == (0..<100).map { Self.frame($0) })
            #expect(seen.isOutgoing == (0..<100).map { $0 % 3 == 0 })
        }
    }

    @Test("goes around many times and counts what it loses when nobody reads")
    func loses() throws {
        try inOwnNetwork {
            let (here, there) = try Self.pair()
            // Two blocks: sending what fits into one must not take longer than this.
            let shape = Ring.Shape(byteCountMax: 0, retirementMilliseconds: 300)
            var ring = try Ring(on: here, .keepAll, shape: shape)
            let sender = try PacketSender(on: there)
            for _ in 0..<5 {
                for number in 0..<50 { try sender.send(Self.frame(number, byteCount: 1500)) }
                #expect(try Collected(from: &ring, count: 50).frames.count == 50)
            }
            for number in 0..<1000 { try sender.send(Self.frame(number, byteCount: 1500)) }
            let statistics = try ring.takeStatistics()
            #expect(statistics.received == 1250)
            #expect(statistics.dropped > 0 && statistics.freezes > 0)
        }
    }

    /// What a block says of the packets that come next, one for each length.
    private static func cuts(
        _ ring: inout Ring, _ sender: borrowing PacketSender, _ byteCounts: [Int]
    ) throws -> [(cut: Int?, kept: Int)] {
        var seen: [(cut: Int?, kept: Int)] = []
        for byteCount in byteCounts {
            try sender.sendLarge(byteCount)
            let count = seen.count
            while seen.count == count {
                _ = try poll([(ring.fileDescriptor, .readable)], milliseconds: 1000)
                guard let block = ring.next() else { continue }
                var packets = block.packets
                while let packet = packets.next() {
                    seen.append((block.cutPacketByteCount, packet.bytes.byteCount))
                }
            }
        }
        return seen
    }

    @Test("tells that a block has cut a packet, and holds it with blocks that are made for it")
    func largePackets() throws {
        try inOwnNetwork {
            let (here, there) = try Self.pair()
            try shell("ip link set there gso_max_size 524280")
            let sender = try PacketSender(on: there, leavesOffload: true)
            let most = (128 << 10) - 140
            var ring = try Ring(on: here, .keepAll, shape: Ring.Shape(byteCountMax: 0))
            #expect(ring.blockByteCount == 128 << 10)
            var seen = try Self.cuts(&ring, sender, [100_000, most, most + 1, 200_000])
            #expect(seen.map(\.cut) == [nil, nil, most + 1, 200_000])
            #expect(seen.map(\.kept) == [100_000, most, most, most])
            // What the program cuts is not cut by the block.
            try ring.attach(try Program(checking: [Instruction(.keep, 70_000)]))
            seen = try Self.cuts(&ring, sender, [200_000])
            #expect(seen.map(\.cut) == [nil] && seen.map(\.kept) == [70_000])
            for byteCount in [140_000, 185_000, 260_000, 300_000] {
                let shape = Ring.Shape(byteCountMax: 0, frameByteCountMax: byteCount)
                #expect(shape.holds(frameOf: byteCount) && shape.blockCount == 2)
                var large = try Ring(on: here, .keepAll, shape: shape)
                seen = try Self.cuts(&large, sender, [byteCount])
                #expect(seen.map(\.cut) == [nil] && seen.map(\.kept) == [byteCount])
            }
        }
    }

    @Test("takes another program between two packets")
    func replaces() throws {
        try inOwnNetwork {
            let (here, there) = try Self.pair()
            var ring = try Ring(on: here, .keepNothing, shape: Ring.Shape(byteCountMax: 1 << 20))
            let sender = try PacketSender(on: there)
            try sender.send(Self.frame(1))
            try ring.attach(try Program(checking: [Instruction(.keep, 40)]))
            try sender.send(Self.frame(2))
            let seen = try Collected(from: &ring, count: 1)
            #expect(seen.frames == [Array(Self.frame(2).prefix(40))])
            #expect(seen.wireByteCounts == [100])
        }
    }

    @Test("reports the kernel's reason when it cannot be made")
    func fails() throws {
        try inOwnNetwork {
            #expect(throws: Ring.Failure.interfaceGone(.noSuchDevice)) {
                _ = try Ring(on: 99_999, .keepAll, shape: Ring.Shape(byteCountMax: 0))
            }
        }
    }

    @Test("holds back the error of an interface that goes down, once")
    func down() throws {
        try inOwnNetwork {
            let (here, _) = try Self.pair()
            let ring = try Ring(on: here, .keepAll, shape: Ring.Shape(byteCountMax: 0))
            try shell("ip link set here down")
            #expect(try ring.takePendingError() == .networkDown)
            #expect(try ring.takePendingError() == nil)
        }
    }
}
