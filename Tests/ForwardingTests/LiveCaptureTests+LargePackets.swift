import Addressing
import Forwarding
import KernelSupport
import Linux
import RPCAP
import Testing
import Time

/// Packets that are larger than the blocks of an ordinary ring.
extension LiveCaptureTests {
    private static let byteCount = 74 + 300_000

    @Test("gives a ring blocks that hold its edge's largest packets, and the queue room for them")
    func largePackets() throws {
        try Self.onNode {
            try shell("ip link set here gso_max_size 524280")
            var connection = DataConnection.awaited
            var pair = try Pair(&connection)
            // The queue has room for a block and not for what its segments may take at most.
            let capture = try Self.capture(to: connection, queueByteCountMax: 1 << 20)
            let sender = try PacketSender(on: try interfaceIndex("here"), leavesOffload: true)
            for _ in 0..<5 {
                try sender.sendLarge(Self.byteCount)
                let packets = try pair.packets(300)
                #expect(packets.map(\.last) == (0..<300).map { UInt8(truncatingIfNeeded: $0) })
            }
            Self.finish(capture)
            let counts = capture.counters.counts.frames
            #expect(counts[.droppedByBlock] == 0 && counts[.forwarded] == 5)
            #expect(capture.counters[.ringsTooSmall] == 0)
        }
    }

    @Test("drops a packet that a block has cut, and gives the ring larger blocks at once")
    func cutPackets() throws {
        try Self.onNode {
            var connection = DataConnection.awaited
            var pair = try Pair(&connection)
            let capture = try Self.capture(to: connection)
            // Nobody tells the capture.
            try shell("ip link set here gso_max_size 524280")
            let sender = try PacketSender(on: try interfaceIndex("here"), leavesOffload: true)
            try sender.sendLarge(Self.byteCount)
            let deadline = MonotonicTime.now + .seconds(60)
            while capture.counters[.ringsReplaced] == 0, MonotonicTime.now < deadline {
                _ = try poll([], milliseconds: 10)
            }
            try sender.sendLarge(Self.byteCount)
            #expect(try pair.packets(300).count == 300)
            Self.finish(capture)
            let counts = capture.counters.counts.frames
            #expect(counts.matched == 2 && counts.imbalance == 0)
            #expect(counts[.droppedByBlock] == 1 && counts[.forwarded] == 1)
            #expect(capture.counters.counts.statistics.droppedByKernel == 1)
        }
    }
}
