import Addressing
package import Linux
package import PacketRing
import Time

/// The frames of a ring, up to an expected number or for ten seconds.
package struct Collected {
    /// The frames, in the order in which they came.
    package private(set) var frames: [[UInt8]] = []
    /// Whether each frame went to the pod.
    package private(set) var isOutgoing: [Bool] = []
    /// The length of each frame before it was cut.
    package private(set) var wireByteCounts: [Int] = []

    /// Reads a ring until there are `count` frames.
    package init(from ring: inout Ring, count: Int) throws(SystemError) {
        let deadline = MonotonicTime.now + .seconds(10)
        while frames.count < count, MonotonicTime.now < deadline {
            _ = try poll([(ring.fileDescriptor, .readable)], until: deadline)
            while let block = ring.next() { add(block) }
        }
    }

    private mutating func add(_ block: borrowing Block) {
        var packets = block.packets
        while let packet = packets.next() {
            frames.append(packet.bytes.array)
            isOutgoing.append(packet.details.isOutgoing)
            wireByteCounts.append(packet.details.wireByteCount)
        }
    }
}
