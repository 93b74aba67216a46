package import Addressing
import Security
package import Time

/// The addresses that have to wait before they may log in again, and the IPv6 /64s that tried too often.
///
/// A wrong login bars its own address, and no other. A host has any number of addresses in its /64, so
/// a /64 as a whole has a number of tries, too. Known addresses neither use nor need those.
package struct LoginThrottle: Sendable {
    private var entries: [IPAddress: Entry] = [:]
    /// When each /64 that has tried will have all its tries again.
    private var restoredAt: [IPNetwork: MonotonicTime] = [:]

    private struct Entry {
        var failureCount = 0
        /// Until when logins from this address are refused.
        var barredUntil = MonotonicTime.zero
    }

    /// The most addresses, and the most /64s, that are remembered.
    ///
    /// If there are more, the one that waits for the shortest time is forgotten.
    package static let addressCountMax = 1024
    /// The tries that a /64 has at once: more than a link's hosts waste together.
    package static let networkTryCountMax = 16
    /// The time after which a /64 has one more; a single address that guesses without end uses fewer.
    package static let networkTryInterval = Duration.seconds(4)
    /// Failures before the wait grows: people mistype.
    private static let freeFailureCount = 3
    private static let waitMin = Duration.seconds(1)
    private static let waitMax = Duration.seconds(60)
    /// The time after which earlier failures do not count.
    private static let memory = Duration.seconds(600)

    /// A throttle that has seen no login.
    package init() {}

    /// Whether logins from an address are refused now.
    ///
    /// A known address has to wait for its own wrong logins only.
    package func isBarred(_ address: IPAddress, isKnown: Bool = false, now: MonotonicTime) -> Bool {
        wait(of: address, isKnown: isKnown, now: now) > .zero
    }

    /// The time until logins from an address are no longer refused; zero if they are not now.
    package func wait(
        of address: IPAddress, isKnown: Bool = false, now: MonotonicTime
    ) -> Duration {
        let ownWait = max(.zero, (entries[address]?.barredUntil ?? now) - now)
        guard !isKnown, let network = Self.sharedNetwork(of: address),
            let time = restoredAt[network]
        else { return ownWait }
        return max(
            ownWait, time - now - Self.networkTryInterval * (Self.networkTryCountMax - 1))
    }

    /// The network that an address shares with others; nil for IPv4.
    private static func sharedNetwork(of address: IPAddress) -> IPNetwork? {
        address.family == .ipv4 ? nil : PeerSource(address).network
    }

    /// Admits a login, and counts it as wrong until `forgive`: logins at the same time count, too.
    ///
    /// - Returns: False if the address has to wait.
    package mutating func admit(
        _ address: IPAddress, isKnown: Bool = false, now: MonotonicTime
    ) -> Bool {
        guard !isBarred(address, isKnown: isKnown, now: now) else { return false }
        var entry = entries[address] ?? Entry()
        if now >= entry.barredUntil + Self.memory { entry.failureCount = 0 }
        entry.failureCount += 1
        let doublings = min(max(0, entry.failureCount - Self.freeFailureCount), 6)
        entry.barredUntil = now + min(Self.waitMin * (1 << doublings), Self.waitMax)
        entries[address] = entry
        Self.limit(&entries) { $0.barredUntil }
        if !isKnown, let network = Self.sharedNetwork(of: address) { spend(network, now) }
        return true
    }

    /// Takes a try from a /64.
    private mutating func spend(_ network: IPNetwork, _ now: MonotonicTime) {
        restoredAt[network] = max(restoredAt[network] ?? now, now) + Self.networkTryInterval
        Self.limit(&restoredAt) { $0 }
    }

    /// Forgets the entry that waits for the shortest time if there is one too many.
    private static func limit<Key, Value>(
        _ table: inout [Key: Value], by end: (Value) -> MonotonicTime
    ) {
        guard table.count > addressCountMax,
            let first = table.min(by: { end($0.value) < end($1.value) })
        else { return }
        table[first.key] = nil
    }

    private mutating func giveBack(_ address: IPAddress, _ isKnown: Bool) {
        guard !isKnown, let network = Self.sharedNetwork(of: address),
            let time = restoredAt[network]
        else { return }
        restoredAt[network] = time - Self.networkTryInterval
    }

    /// Forgets the failures of an address whose login was right.
    package mutating func forgive(_ address: IPAddress, isKnown: Bool = false) {
        entries[address] = nil
        giveBack(address, isKnown)
    }

    /// Takes back the count of a login that was not looked at in the end.
    package mutating func withdraw(
        _ address: IPAddress, isKnown: Bool = false, now: MonotonicTime
    ) {
        guard var entry = entries[address] else { return }
        entry.failureCount = max(0, entry.failureCount - 1)
        entry.barredUntil = min(entry.barredUntil, now)
        entries[address] = entry
        giveBack(address, isKnown)
    }
}
