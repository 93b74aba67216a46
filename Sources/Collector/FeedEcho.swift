import Addressing
package import RPCAP
package import Time

/// A search for packets that an agent has sent to this collector, inside the packets that it sends.
///
/// A filter keeps the feed out of the capture. It cannot where addresses are translated on the way,
/// where the feed is in a tunnel, or where a daemon ignores filters. Then a captured packet contains
/// the records that came before, with their times, lengths and numbers. Nothing but a copy of the
/// feed has these. What TLS has encrypted is not found.
package struct FeedEcho: ~Copyable {
    /// Marks of records that came last, by hash.
    private var marks = [UInt32](repeating: 0, count: 1 << markCountBits)

    /// The number of marks, for a quarter of a second of a million packets; 1 MiB.
    private static let markCountBits = 18

    package init() {}

    /// Remembers a record that has come.
    package mutating func remember(_ record: PacketRecord) {
        let hash = Self.hash(
            record.seconds, record.microseconds, UInt32(truncatingIfNeeded: record.byteCount),
            UInt32(truncatingIfNeeded: record.wireByteCount), record.number)
        marks[Int(hash >> (64 - UInt64(Self.markCountBits)))] = UInt32(truncatingIfNeeded: hash)
    }

    /// Returns whether a frame contains a record that is remembered.
    package func isContained(in frame: RawSpan) -> Bool {
        let last = frame.byteCount - PacketRecord.packetHeaderByteCount
        var offset = Self.headerByteCountMin
        while offset <= last {
            let microseconds = frame.uint32(at: offset + 4)
            if microseconds < 1_000_000 {
                let byteCount = frame.uint32(at: offset + 8)
                if byteCount > 0, byteCount <= UInt32(StartRequest.snaplenMax) {
                    let hash = Self.hash(
                        frame.uint32(at: offset), microseconds, byteCount,
                        frame.uint32(at: offset + 12), frame.uint32(at: offset + 16))
                    if marks[Int(hash >> (64 - UInt64(Self.markCountBits)))]
                        == UInt32(truncatingIfNeeded: hash)
                    {
                        return true
                    }
                }
            }
            offset += 1
        }
        return false
    }

    /// The headers of IPv4 and UDP, before which no record begins.
    private static let headerByteCountMin = 28

    private static func hash(
        _ seconds: UInt32, _ microseconds: UInt32, _ byteCount: UInt32, _ wireByteCount: UInt32,
        _ number: UInt32
    ) -> UInt64 {
        var hash = UInt64(seconds) << 32 | UInt64(microseconds)
        hash = (hash ^ hash >> 29) &* 0x9e37_79b9_7f4a_7c15
        hash ^= UInt64(byteCount) << 32 | UInt64(wireByteCount)
        hash = (hash ^ hash >> 32) &* 0xd6e8_feb8_6659_fd93
        hash ^= UInt64(number)
        hash = (hash ^ hash >> 32) &* 0xd6e8_feb8_6659_fd93
        return hash ^ hash >> 32
    }
}

/// The share of a feed that is a copy of the feed.
///
/// It looks at a part of the frames, so that a busy feed costs little.
package struct EchoShare {
    private var windowBegin = MonotonicTime.zero
    private var examinedByteCount = 0
    private var echoedByteCount = 0
    private var echoedCount = 0
    /// Windows one after the other in which most bytes were copies.
    private var badWindowCount = 0
    /// Whether most of the feed is a copy, so that it keeps itself going.
    package private(set) var isLoop = false

    /// The bytes that are examined in a window: some thousandths of a second of one processor.
    private static let examinedByteCountMax = 1 << 20
    /// The copies that a window needs to count.
    private static let echoedCountMin = 8
    /// The bytes of copies that are enough without waiting for the end of a window.
    private static let echoedByteCountMin = 128 << 10
    /// The windows that a feed with few packets gets.
    private static let badWindowCountMax = 3
    private static let windowTime = Duration.seconds(1)

    package init() {}

    /// Whether the next frame is to be examined.
    package mutating func wantsFrame(now: MonotonicTime) -> Bool {
        if now - windowBegin >= Self.windowTime {
            badWindowCount = isMostlyEcho ? badWindowCount + 1 : 0
            if badWindowCount >= Self.badWindowCountMax { isLoop = true }
            windowBegin = now
            (examinedByteCount, echoedByteCount, echoedCount) = (0, 0, 0)
        }
        return examinedByteCount < Self.examinedByteCountMax
    }

    /// Counts a frame that was examined.
    package mutating func count(byteCount: Int, isEcho: Bool) {
        examinedByteCount += byteCount
        guard isEcho else { return }
        echoedByteCount += byteCount
        echoedCount += 1
        if isMostlyEcho, echoedByteCount >= Self.echoedByteCountMin { isLoop = true }
    }

    private var isMostlyEcho: Bool {
        echoedCount >= Self.echoedCountMin && echoedByteCount >= examinedByteCount / 2
    }
}
