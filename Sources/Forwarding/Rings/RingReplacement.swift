import PacketRing
import Linux

/// The time in which two rings get an edge's packets, and how each is forwarded once.
///
/// 1. The successor is opened and lets nothing in. From now on packets have one time in all rings
///    (`PacketStamps`), by which they can be told apart.
/// 2. The successor lets in what the ring does. What comes out of the ring is forwarded and noted.
/// 3. When all packets have passed that were under way by then, each further one is in the
///    successor. What the ring had been given until then is what it has to be read for.
/// 4. The ring is given up, whatever else it holds, or had no room for. What of the successor has
///    been noted is left out. A packet is shown to the younger ring first, so that can only be among
///    those that the successor had when the ring was read last.
///
/// Until the last step the ring is what counts, and if anything is wrong with the successor, that is
/// given up instead.
struct RingReplacement: ~Copyable {
    private var forwarded: PacketSet
    /// How many packets the ring had been given when the successor began to get them.
    private let startCount: Int
    /// How many the ring has to be read for, since when that is known.
    private var endCount: Int?
    private var endedAt: UInt64 = 0
    /// Whether the successor can take over: all that both may have can be told apart.
    private(set) var isSound = true
    /// Packets that the ring had no room for. The successor has them.
    private var missedCount = 0
    /// Of how many packets of the successor it is still to be seen whether they have been noted.
    private(set) var sharedCount = 0
    private var ownCount = 0

    init(_ forwarded: consuming PacketSet, startCount: Int) {
        self.forwarded = forwarded
        self.startCount = startCount
    }

    /// Takes note of a block of the ring, before which so many packets have been read.
    mutating func note(_ block: borrowing Block, readCount: Int) {
        var packets = block.packets
        while let packet = packets.next() {
            let isShared = readCount + packets.count > startCount
            if isShared { ownCount += 1 }
            if let identity = packet.identity {
                if !forwarded.insert(identity) { isSound = false }
            } else if isShared {
                isSound = false
            }
        }
    }

    mutating func hasMissed(_ count: Int) { missedCount += count }

    /// All further packets are in the successor; the ring had been given so many by now.
    mutating func end(at count: Int) {
        endCount = count
        endedAt = monotonicNanoseconds()
    }

    var hasEnded: Bool { endCount != nil }

    /// Whether the ring can be given up, of which so many packets have been read. Time decides where
    /// the kernel's count is wrong.
    func isOver(readCount: Int) -> Bool {
        guard let endCount else { return false }
        return readCount >= endCount
            || monotonicNanoseconds() >= endedAt + Ring.retirementNanosecondsMax
    }

    /// The successor takes over, which has so many packets now.
    mutating func share(_ count: Int) { sharedCount = count }

    /// Whether the next packet of the successor has been forwarded before.
    mutating func hasForwarded(_ identity: UInt64?) -> Bool {
        guard sharedCount > 0 else { return false }
        sharedCount -= 1
        if let identity, forwarded.remove(identity) { return true }
        ownCount += 1
        return false
    }

    /// What the ring has been given and had no room for, and has not been read, if it had so many.
    func rest(readCount: Int, putCount: Int) -> Ring.Statistics {
        let unread = putCount - max(readCount, startCount)
        return Ring.Statistics(
            received: UInt32(clamping: missedCount + unread), dropped: UInt32(clamping: missedCount)
        )
    }

    /// How many packets have come out of either ring for the first time since this was asked last,
    /// that the kernel's counts, as they are used, do not have.
    mutating func takeOwnCount() -> Int {
        defer { ownCount = 0 }
        return ownCount
    }
}
