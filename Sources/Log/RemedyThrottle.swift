package import Time

/// A throttle for what to do about failures of many peers at once, which is the same for all of them.
///
/// A few lines have it, so that the others are short enough to read.
package struct RemedyThrottle: Sendable {
    private var recent: [String: (count: Int, begin: MonotonicTime)] = [:]

    /// The time that begins with a remedy's first line.
    package static let interval = Duration.seconds(60)
    /// The most lines with the same remedy in that time.
    package static let lineCountMax = 3
    /// The most remedies that are remembered.
    ///
    /// The program has fewer, but some name a peer.
    package static let countMax = 100

    /// A throttle that has seen no remedy.
    package init() {}

    /// Records a line that is logged now.
    ///
    /// - Parameters:
    ///   - remedy: What the line would say.
    ///   - now: The time.
    /// - Returns: Whether it is to say so.
    package mutating func admit(_ remedy: String, now: MonotonicTime) -> Bool {
        var entry = recent[remedy] ?? (0, now)
        if now >= entry.begin + Self.interval { entry = (0, now) }
        entry.count += 1
        if recent[remedy] == nil, recent.count >= Self.countMax { recent.removeAll() }
        recent[remedy] = entry
        return entry.count <= Self.lineCountMax
    }
}
