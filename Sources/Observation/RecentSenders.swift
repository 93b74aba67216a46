package import Addressing
package import Time

/// The unknown senders that were seen in the last second, so that each is reported once.
package struct RecentSenders: Sendable {
    private struct Entry: Sendable {
        var address = IPAddress(ipv4: 0)
        var interfaceIndex: UInt32 = 0
        var expiresAt = MonotonicTime.zero
    }

    /// The most senders at a time; further ones take the place of the oldest.
    package static let countMax = 8
    /// How soon the same sender is reported again.
    package static let interval = Duration.seconds(1)

    private var entries = [8 of Entry](repeating: Entry())
    private var next = 0

    package init() {}

    /// Records a sender at an edge.
    ///
    /// - Returns: Whether it was not there.
    package mutating func insert(
        _ address: IPAddress, at interfaceIndex: UInt32, now: MonotonicTime
    ) -> Bool {
        for index in entries.indices
        where entries[index].address == address && now < entries[index].expiresAt
            && entries[index].interfaceIndex == interfaceIndex
        {
            return false
        }
        entries[next] = Entry(
            address: address, interfaceIndex: interfaceIndex, expiresAt: now + Self.interval)
        next = (next + 1) % Self.countMax
        return true
    }
}
