import Time

/// The last few frames that were seen, by which copies of them are known.
struct RecentFrames {
    private var frames: [(bytes: [UInt8], index: UInt32, seenAt: MonotonicTime)] = []
    private var next = 0

    /// The most frames: a copy follows its frame with few others between them.
    static let countMax = 64
    /// The most time between a frame and its copy: senders hardly repeat themselves that soon.
    static let copyTime = Duration.milliseconds(10)

    /// Whether a frame is a copy of one that an edge has seen just now; if not, it is remembered.
    mutating func contains(
        _ bytes: [UInt8], orAddsAt now: MonotonicTime, _ index: UInt32
    ) -> Bool {
        let isCopy = frames.contains {
            $0.index == index && now <= $0.seenAt + Self.copyTime
                && $0.seenAt <= now + Self.copyTime && $0.bytes == bytes
        }
        guard !isCopy else { return true }
        if frames.count < Self.countMax {
            frames.append((bytes, index, now))
        } else {
            frames[next] = (bytes, index, now)
            next = (next + 1) % Self.countMax
        }
        return false
    }
}
