/// The number of packets that the socket has taken, known without looking at each.
///
/// Now and then it records how many bytes and packets have been put into the queue so far. A packet
/// counts as sent when all bytes up to such a checkpoint are. So the count is exact when nothing waits,
/// and otherwise too low by less than what is between two checkpoints. It never goes back.
package struct SendProgress {
    /// Bytes and packets since the capture began.
    package struct Count: Equatable, Sendable {
        /// The bytes of the packets, with their headers.
        package var byteCount: UInt64
        /// The packets.
        package var packetCount: UInt64

        package init(byteCount: UInt64, packetCount: UInt64) {
            (self.byteCount, self.packetCount) = (byteCount, packetCount)
        }
    }

    /// What has been sent, as far as that is known.
    package private(set) var sent = Count(byteCount: 0, packetCount: 0)
    /// What had been queued at some moments, the oldest first; all of it is more than was sent.
    private var checkpoints: [Count] = []
    /// The fewest bytes between two checkpoints, but for the last.
    private let spacing: UInt64

    /// The most checkpoints that a full queue has, so that each stands for less than 1 %.
    private static let checkpointCountMax: UInt64 = 128

    /// Begins with nothing queued, in a queue of this size.
    package init(queueByteCountMax: Int) {
        spacing = max(1, UInt64(queueByteCountMax) / Self.checkpointCountMax)
    }

    /// The number of checkpoints, which is bounded while the bytes that wait are.
    package var checkpointCount: Int { checkpoints.count }

    /// Records what has been queued so far, of which some bytes have not been sent.
    package mutating func record(_ queued: Count, unsentByteCount: Int) {
        guard unsentByteCount > 0 else {
            checkpoints.removeAll(keepingCapacity: true)
            sent = queued
            return
        }
        let unsent = UInt64(unsentByteCount)
        let sentByteCount = queued.byteCount - min(unsent, queued.byteCount)
        let reachedCount = checkpoints.prefix { $0.byteCount <= sentByteCount }.count
        if reachedCount > 0 {
            sent = checkpoints[reachedCount - 1]
            checkpoints.removeFirst(reachedCount)
        }
        append(queued)
    }

    private mutating func append(_ queued: Count) {
        let last = checkpoints.last?.byteCount ?? sent.byteCount
        guard queued.byteCount > last else { return }
        let beforeLast = checkpoints.dropLast().last?.byteCount ?? sent.byteCount
        if !checkpoints.isEmpty, last - beforeLast < spacing { checkpoints.removeLast() }
        checkpoints.append(queued)
    }
}
