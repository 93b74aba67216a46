import Linux
package import Netlink
package import Time

/// What bridges know behind their ports, as it was listed.
package struct BridgeListing: Sendable {
    /// What was listed of each port that was there, and of each bridge itself, by its index.
    package private(set) var ports: [UInt32: [ForwardingEntry]] = [:]
    /// The number of ports that were left out because the time was over.
    package private(set) var leftOutCount = 0
    /// The number of changes that the forwarding table had when the listing was asked for.
    ///
    /// What has changed since is newer than the listing, or the same.
    package let changeCount: Int
    /// The time that the listing took.
    package private(set) var duration = Duration.zero

    /// The most entries that are listed of a port, and one more to see that there are more.
    package static let countMaxPerPort = ForwardingTable.countMaxPerPort + 1
    /// The longest that a listing delays the start: a pod may have filled a bridge's table.
    static let startDurationMax = Duration.milliseconds(250)

    /// A listing by its parts.
    package init(_ ports: [UInt32: [ForwardingEntry]], changeCount: Int) {
        (self.ports, self.changeCount) = (ports, changeCount)
    }

    /// Lists some ports, and bridges themselves, one after the other.
    ///
    /// - Parameters:
    ///   - ports: The indexes of the ports and bridges.
    ///   - changeCount: The number of changes that the forwarding table has had.
    ///   - deadline: When no further port is begun.
    ///   - onPort: Is called before each port with the time that the port before it took, and
    ///     says whether to go on.
    package init(
        of ports: [UInt32], changeCount: Int, until deadline: MonotonicTime = .distantFuture,
        onPort: (Duration) -> Bool = { _ in true }
    ) {
        self.init([:], changeCount: changeCount)
        var last = Duration.zero
        for (count, port) in ports.enumerated() {
            let begin = MonotonicTime.now
            guard begin < deadline, onPort(last) else {
                leftOutCount = ports.count - count
                return
            }
            let listedAt = MonotonicTime.now
            // A port that has just gone is no failure.
            if let entries = try? NetlinkSocket.forwardingEntries(
                behind: port, countMax: Self.countMaxPerPort)
            {
                self.ports[port] = entries
            }
            last = .now - listedAt
            duration += last
        }
    }

    /// Whether a port has more entries than are listed.
    package static func isCut(_ entries: [ForwardingEntry]) -> Bool {
        entries.count >= countMaxPerPort
    }

    /// The number of ports that have more entries than are listed.
    package var cutCount: Int { ports.values.count(where: Self.isCut) }
}

/// The time at which the bridges' ports are listed again, after events about them were lost.
///
/// A pod can make a bridge learn faster than events can be read, for as long as it likes.
package struct BridgeListingSchedule: Sendable {
    private var isWanted = false
    private var isRunning = false
    private var allowedAt = MonotonicTime.zero

    /// The shortest pause between two listings.
    package static let pauseMin = Duration.seconds(1)
    /// The least ratio of a pause to the listing before it.
    package static let pauseRatio = 10

    /// A schedule without a listing.
    package init() {}

    /// Requests a listing.
    package mutating func request() { isWanted = true }

    /// Takes the listing if it is due; it runs until `finish`.
    package mutating func takeDue(now: MonotonicTime) -> Bool {
        guard isWanted, !isRunning, now >= allowedAt else { return false }
        isWanted = false
        isRunning = true
        return true
    }

    /// Records that the listing has ended.
    package mutating func finish(_ listing: BridgeListing, now: MonotonicTime) {
        isRunning = false
        allowedAt = now + max(Self.pauseMin, listing.duration * Self.pauseRatio)
    }

    /// When a listing is due; the distant future if none is.
    package var dueAt: MonotonicTime { isWanted && !isRunning ? allowedAt : .distantFuture }
}
