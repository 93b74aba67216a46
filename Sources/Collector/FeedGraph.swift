package import Time

/// Which agents capture whose feeds.
///
/// Feeds that contain each other, be it by way of others, grow as one that contains itself does. A
/// feed that only passes through another node's capture does not.
package struct FeedGraph: Sendable {
    /// By link, the links whose feeds its packets contain, and when that was seen last.
    private var contained: [Int: [Int: MonotonicTime]] = [:]

    /// The time after which a sight no longer counts.
    private static let validity = Duration.seconds(10)
    /// The most feeds that are noted of one link.
    package static let countMaxPerLink = 8

    package init() {}

    /// Records that a link's packets contain another one's feed.
    package mutating func record(_ link: Int, contains other: Int, now: MonotonicTime) {
        var others = contained[link, default: [:]].filter { now - $0.value < Self.validity }
        if others[other] != nil || others.count < Self.countMaxPerLink { others[other] = now }
        contained[link] = others
    }

    /// Forgets a link.
    package mutating func remove(_ link: Int) {
        contained[link] = nil
        for other in Array(contained.keys) { contained[other]?[link] = nil }
    }

    /// Whether a link's feed is contained in another one's, directly or by way of others.
    package func isFeed(of link: Int, in other: Int, now: MonotonicTime) -> Bool {
        var (waiting, seen) = ([other], Set([other]))
        while let next = waiting.popLast() {
            for (found, time) in contained[next] ?? [:] where now - time < Self.validity {
                if found == link { return true }
                if seen.insert(found).inserted { waiting.append(found) }
            }
        }
        return false
    }
}
