import Addressing
package import RPCAP
package import Time

/// A search for packets that agents have sent to this collector, inside the packets that they send.
///
/// A filter keeps the feed out of the capture. It cannot where addresses are translated on the way,
/// where the feed is in a tunnel, or where a daemon ignores filters. Then a captured packet contains
/// the records that came before, with their times, lengths and numbers. Nothing but a copy of a
/// feed has these, and a mark says of whose feed. What TLS has encrypted is not found.
package struct FeedEcho: ~Copyable {
    /// Marks of records that came last, by hash: a hash, the link, and how many a mark stands for.
    private var marks = [UInt64](repeating: 0, count: 1 << markCountBits)
    /// The seconds of the records that have come: no other word begins one.
    private var seconds: (first: UInt32, last: UInt32) = (.max, 0)
    /// What may be looked at.
    package private(set) var budget = EchoBudget()
    /// Which feeds contain which.
    package var graph = FeedGraph()

    /// The number of marks, for a second and more of the records that are remembered; 1 MiB.
    private static let markCountBits = 17
    private static let linkMask: UInt64 = 0x3ff_ffff
    private static let (linkBits, shiftBits): (UInt64, UInt64) = (26, 6)

    package init() {}

    /// What a frame has of a feed.
    package struct Finding: Equatable, Sendable {
        /// The link whose feed it is.
        package let link: Int
        /// The estimated length of the records.
        package fileprivate(set) var byteCount: Int
    }

    /// Begins the next tick of the budget if it is time.
    package mutating func advance(now: MonotonicTime) { budget.advance(now: now) }

    /// Looks at a packet of a link, and remembers it, as far as the budget allows.
    package mutating func take(
        _ record: PacketRecord, _ frame: RawSpan, of link: Int, pace: inout EchoPace
    ) -> (weight: Int, finding: Finding?)? {
        let weight = pace.weight(of: frame.byteCount, in: &budget)
        defer {
            if let shift = pace.shift(of: record.number, in: &budget) {
                remember(record, of: link, shift: shift)
            }
        }
        guard let weight else { return nil }
        return (weight, find(in: frame))
    }

    /// Remembers a record, which stands for 2^`shift` records.
    package mutating func remember(_ record: PacketRecord, of link: Int, shift: Int = 0) {
        seconds = (min(seconds.first, record.seconds), max(seconds.last, record.seconds))
        let hash = Self.hash(
            record.seconds, record.microseconds, UInt32(truncatingIfNeeded: record.byteCount),
            UInt32(truncatingIfNeeded: record.wireByteCount), record.number)
        let link = UInt64(truncatingIfNeeded: link) & Self.linkMask
        marks[Self.place(of: hash)] =
            hash << (Self.linkBits + Self.shiftBits) | link << Self.shiftBits
            | UInt64(truncatingIfNeeded: shift)
    }

    /// Finds the records in a frame that are remembered.
    ///
    /// A frame has records of one feed; what a record contains is not looked at.
    package func find(in frame: RawSpan) -> Finding? {
        var finding: Finding?
        let last = frame.byteCount - PacketRecord.packetHeaderByteCount
        guard seconds.first <= seconds.last else { return nil }
        let (first, range) = (seconds.first, seconds.last - seconds.first)
        var offset = Self.headerByteCountMin
        while offset <= last {
            if frame.uint32(at: offset) &- first <= range, let mark = mark(at: offset, in: frame) {
                let byteCount = Int(frame.uint32(at: offset + 8))
                let link = Int(mark >> Self.shiftBits & Self.linkMask)
                let length = min(byteCount + PacketRecord.headerByteCount, frame.byteCount)
                var found = finding ?? Finding(link: link, byteCount: 0)
                if found.link == link {
                    found.byteCount += length << Int(mark & (1 << Self.shiftBits - 1))
                }
                finding = found
                offset += byteCount + PacketRecord.packetHeaderByteCount
            } else {
                offset += 1
            }
        }
        return finding
    }

    /// Returns the mark of the record whose time stands at an offset, if it is remembered.
    private func mark(at offset: Int, in frame: RawSpan) -> UInt64? {
        let microseconds = frame.uint32(at: offset + 4)
        let byteCount = frame.uint32(at: offset + 8)
        guard microseconds < 1_000_000, byteCount > 0, byteCount <= UInt32(StartRequest.snaplenMax)
        else { return nil }
        let hash = Self.hash(
            frame.uint32(at: offset), microseconds, byteCount, frame.uint32(at: offset + 12),
            frame.uint32(at: offset + 16))
        let mark = marks[Self.place(of: hash)]
        let isSame = mark >> (Self.linkBits + Self.shiftBits) == hash & 0xffff_ffff
        return isSame && mark != 0 ? mark : nil
    }

    /// The headers of IPv4 and UDP, before which no record begins.
    private static let headerByteCountMin = 28

    private static func place(of hash: UInt64) -> Int { Int(hash >> (64 - UInt64(markCountBits))) }

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
