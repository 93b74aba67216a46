package import Time

/// The pauses between turns, in which the blocks of many edges gather.
///
/// Each ring hands over its blocks at times of its own. Where many edges say little, nearly every block
/// would wake the forwarder by itself, which costs several times what its packets cost. So the forwarder
/// pauses after a turn in which little came. There is no pause while a ring may be filling.
package struct TurnPacer {
    private var blockCount = 0
    private var byteCount = 0
    /// Whether the turn has read a large block.
    private var hasLargeBlock = false
    /// Until when there is no pause.
    private var busyUntil = MonotonicTime.zero

    /// The longest pause.
    ///
    /// With 5,000 blocks a second, which 250 quiet edges hand over, 25 of them gather in that time. It
    /// is a quarter of the time for which packets stay in a block anyway.
    private static let pauseMax = Duration.milliseconds(5)
    /// The rate that the smallest ring is to hold during a pause, in bytes a millisecond: 0.7 Gbit/s.
    ///
    /// Nobody knows when an edge that says little begins to say much.
    private static let heldByteCountPerMillisecond = (256 << 10) / 3

    /// The length of a pause.
    ///
    /// - Parameter byteCount: The size of the smallest ring.
    /// - Returns: The length, whole milliseconds.
    package static func pause(smallestRing byteCount: Int) -> Duration {
        min(pauseMax, .milliseconds(byteCount / heldByteCountPerMillisecond))
    }

    /// The fewest edges with rings: the blocks of fewer come one by one in spite of a pause.
    package static let edgeCountMin = 8
    /// The bytes of a turn from which a pause saves nothing.
    private static let byteCountMax = Sender.sendByteCount
    /// The bytes from which a block is large: the smallest one is half full.
    private static let largeByteCount = 64 << 10
    /// The size below which a ring may fill in the next pause if a large block begins a burst.
    private static let safeRingByteCount = 4 << 20
    /// How long there is no pause when a burst may have begun: by then it is known whether it has.
    private static let suspicionTime = Duration.milliseconds(5)
    /// How long there is no pause when a ring fills fast: by then it has grown.
    private static let fastTime = Duration.milliseconds(100)
    /// The time in which a ring that fills fast would be full: that of many pauses.
    private static let fastLapMax = Duration.milliseconds(50)

    /// Whether the last turn found blocks in a fifth of the rings or more.
    ///
    /// Then it costs less to look at all of them than to have the poller tell which have some.
    ///
    /// A look at a ring waits for memory, about 0.15 µs: blocks begin at multiples of their size, so few
    /// of these places fit into a cache together. The poller takes some 0.8 µs for a ring that has
    /// something, as it looks once more when the ring has been read.
    package private(set) var findsMany = false

    /// The share of rings with blocks from which on it is so.
    private static let manyShare = 5

    package init() {}

    /// Records that the turn has read a block.
    ///
    /// - Parameters:
    ///   - byteCount: The bytes that the kernel had put into it.
    ///   - ringByteCount: The size of its ring.
    ///   - lastReadAt: When the block before it was read from that ring.
    ///   - now: The time now.
    package mutating func recordBlock(
        byteCount: Int, ofRing ringByteCount: Int, lastReadAt: MonotonicTime, now: MonotonicTime
    ) {
        blockCount += 1
        self.byteCount += byteCount
        guard byteCount >= Self.largeByteCount else { return }
        hasLargeBlock = true
        if (now - lastReadAt) * (ringByteCount / byteCount) < Self.fastLapMax {
            busyUntil = now + Self.fastTime
        } else if ringByteCount < Self.safeRingByteCount {
            busyUntil = max(busyUntil, now + Self.suspicionTime)
        }
    }

    /// Ends a turn.
    ///
    /// - Parameters:
    ///   - edgeCount: The number of edges with rings.
    ///   - now: The time now.
    /// - Returns: Whether to pause before the next turn.
    package mutating func endTurn(edgeCount: Int, now: MonotonicTime) -> Bool {
        defer { (blockCount, byteCount, hasLargeBlock) = (0, 0, false) }
        findsMany = blockCount * Self.manyShare >= edgeCount
        return blockCount > 0 && edgeCount >= Self.edgeCountMin && !hasLargeBlock
            && byteCount < Self.byteCountMax && now >= busyUntil
    }
}
