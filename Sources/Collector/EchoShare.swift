package import Time

/// The share of a feed that is a copy of the feed.
///
/// A feed is a loop if most of it is a copy, and in the next moment again no less of it. It is one
/// also if a fair part is a copy for some seconds, and the frames that make it are whole. Each of
/// them would make a longer one, and only what is dropped for other traffic keeps the feed from
/// growing. Where frames are cut or sampled, a part of copies does not grow.
package struct EchoShare: Sendable {
    private let link: Int
    /// Whether the agent was asked for a part of its packets only.
    private let isSampled: Bool
    private var brief = Window()
    private var long = Window()
    /// The copies of the last brief window if most of it was copies.
    private var copyByteCountBefore: Int?
    /// Whether the feed keeps itself going.
    package private(set) var isLoop = false
    /// The link whose feed stands in this one, without a way back.
    package private(set) var stranger: Int?

    private static let briefTime = Duration.milliseconds(500)
    private static let longTime = Duration.seconds(3)
    /// The copies that a window needs to count.
    private static let (briefCountMin, longCountMin) = (4, 8)
    /// The bytes of copies with which a brief window counts.
    private static let copyByteCountMin = 64 << 10
    /// The part of a feed that is too much, where whole frames are copies.
    private static let wholePart = 10

    /// What was examined in a time.
    private struct Window {
        var begin = MonotonicTime.zero
        /// The bytes for which the examined frames stand.
        var byteCount = 0
        var tallies: [Int: Tally] = [:]

        mutating func add(_ tally: Tally, of link: Int, isOwn: Bool) {
            guard isOwn || tallies[link] != nil || tallies.count < FeedGraph.countMaxPerLink else {
                return
            }
            tallies[link] = tallies[link, default: Tally()] + tally
        }
    }

    /// The copies of one feed.
    private struct Tally {
        var count = 0
        var byteCount = 0
        /// Copies in frames that were not cut.
        var wholeByteCount = 0

        static func + (left: Self, right: Self) -> Self {
            Self(
                count: left.count + right.count, byteCount: left.byteCount + right.byteCount,
                wholeByteCount: left.wholeByteCount + right.wholeByteCount)
        }
    }

    package init(of link: Int, isSampled: Bool = false) {
        (self.link, self.isSampled) = (link, isSampled)
    }

    /// Counts a frame that was examined.
    ///
    /// - Parameters:
    ///   - weight: The bytes that it stands for.
    ///   - frameByteCount: Its length.
    ///   - isWhole: Whether it has the length that it had on the wire.
    ///   - finding: What it has of a feed.
    package mutating func count(
        weight: Int, frameByteCount: Int, isWhole: Bool, _ finding: FeedEcho.Finding?
    ) {
        brief.byteCount += weight
        long.byteCount += weight
        guard let finding else { return }
        let part = Double(finding.byteCount) / Double(max(1, frameByteCount))
        // One frame with a mark that stands for many records must not make a window.
        let copies = Int(min(part * Double(weight), Double(Int32.max)))
        let tally = Tally(count: 1, byteCount: copies, wholeByteCount: isWhole ? copies : 0)
        brief.add(tally, of: finding.link, isOwn: finding.link == link)
        long.add(tally, of: finding.link, isOwn: finding.link == link)
    }

    /// Deals with windows that are over.
    package mutating func advance(_ graph: inout FeedGraph, now: MonotonicTime) {
        if now - brief.begin >= Self.briefTime {
            let copies = copies(in: brief, &graph, now)
            let isMost =
                copies.count >= Self.briefCountMin && copies.byteCount >= Self.copyByteCountMin
                && copies.byteCount >= brief.byteCount / 2
            if isMost, let before = copyByteCountBefore, copies.byteCount >= before / 2 {
                isLoop = true
            }
            copyByteCountBefore = isMost ? copies.byteCount : nil
            brief = Window(begin: now)
        }
        if now - long.begin >= Self.longTime {
            let copies = copies(in: long, &graph, now)
            if copies.count >= Self.longCountMin,
                copies.byteCount >= long.byteCount / 2
                    || !isSampled && copies.wholeByteCount >= long.byteCount / Self.wholePart
            {
                isLoop = true
            }
            findStranger(graph, now)
            long = Window(begin: now)
        }
    }

    /// The copies of the feed itself, and of feeds that contain it.
    private func copies(
        in window: Window, _ graph: inout FeedGraph, _ now: MonotonicTime
    ) -> Tally {
        var sum = window.tallies[link] ?? Tally()
        for (other, tally) in window.tallies where other != link {
            if tally.count >= Self.briefCountMin { graph.record(link, contains: other, now: now) }
            if graph.isFeed(of: link, in: other, now: now) { sum = sum + tally }
        }
        return sum
    }

    private mutating func findStranger(_ graph: FeedGraph, _ now: MonotonicTime) {
        stranger =
            long.tallies.first { other, tally in
                other != link && tally.count >= Self.longCountMin
                    && tally.byteCount >= long.byteCount / Self.wholePart
                    && !graph.isFeed(of: link, in: other, now: now)
            }?.key
    }
}
