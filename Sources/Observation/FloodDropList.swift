package import Addressing
package import Time

/// The MAC addresses whose flooded copies the edges' programs drop.
///
/// A bridge floods frames to an address that it has forgotten, for as long as nobody there says
/// something. Programs leave such copies to user space, since the address may be that of a new guest.
/// If many copies of one address were refused within a second, programs drop further ones for some
/// seconds; then the next few are looked at again.
package struct FloodDropList: Sendable {
    /// The addresses that programs drop if they are installed from now on.
    package private(set) var addresses: Set<MACAddress> = []
    /// The copies that were refused, by address, since `turnedAt`.
    private var counts: [MACAddress: Int] = [:]
    private var turnedAt = MonotonicTime.zero
    private var emptiesAt = MonotonicTime.zero
    /// Whether addresses wait to be taken over.
    private var hasNews = false

    /// The copies in a second from which on dropping them is worth new programs.
    private static let countMin = 32
    /// The most addresses that are counted and dropped: each takes two instructions of a program.
    package static let addressCountMax = 64
    private static let countTime = Duration.seconds(1)
    /// How long copies are dropped before a few are looked at again.
    private static let dropTime = Duration.seconds(10)

    package init() { counts.reserveCapacity(Self.addressCountMax) }

    /// Records that a flooded copy was refused.
    package mutating func record(_ mac: MACAddress) {
        guard counts[mac] != nil || counts.count < Self.addressCountMax else { return }
        let count = counts[mac, default: 0] + 1
        counts[mac] = count
        if count == Self.countMin { hasNews = true }
    }

    /// Takes over what was recorded, and forgets addresses in time.
    package mutating func refresh(now: MonotonicTime) {
        if !addresses.isEmpty, now >= emptiesAt { addresses = [] }
        if hasNews {
            hasNews = false
            if addresses.isEmpty { emptiesAt = now + Self.dropTime }
            for (mac, count) in counts
            where count >= Self.countMin && addresses.count < Self.addressCountMax {
                addresses.insert(mac)
            }
        }
        guard !counts.isEmpty, now >= turnedAt + Self.countTime else { return }
        turnedAt = now
        counts.removeAll(keepingCapacity: true)
    }
}
