package import Addressing
package import RPCAP
package import Time

/// The names of addresses, as agents' lists of devices say them.
///
/// An agent names the addresses of its own pods. What it says of an address that another agent has
/// named is not believed until that one has not said it for `holdTime`.
package struct NameTable: Sendable {
    /// A pod at an address.
    package struct Entry: Equatable, Sendable {
        package let address: IPAddress
        package let namespace: String
        package let name: String
        /// The agent that says so, in words for people.
        package let agent: String
        /// When it was said first, in nanoseconds since 1970.
        package let from: UInt64
        /// When it was not said any more; nil while it is.
        package fileprivate(set) var to: UInt64?
        fileprivate var seenAt: MonotonicTime

        /// The name as a host's: `"web-1.shop"`.
        package var hostName: String { "\(name).\(namespace)" }
    }

    /// What was not believed, or not kept.
    package struct Counts: Equatable, Sendable {
        /// Addresses that belong to another agent's pod.
        package var taken: UInt64 = 0
        /// Addresses for which there was no room.
        package var notKept: UInt64 = 0

        package init() {}
    }

    private var entries: [IPAddress: Entry] = [:]
    private var addresses: [String: Set<IPAddress>] = [:]
    package private(set) var counts = Counts()
    /// A number that changes with each change of a name.
    package private(set) var version = 0

    /// The most addresses, those of a cluster of 30,000 pods with two each.
    package static let countMax = 65_536
    /// The most addresses of one agent, so that one that lies takes few of the others' places.
    package static let agentCountMax = 2048
    /// The time for which an address belongs to an agent that has stopped to name it.
    package static let holdTime = Duration.seconds(300)

    /// A table without names.
    package init() {}

    /// Records what an agent says.
    ///
    /// - Parameters:
    ///   - pods: All its pods.
    ///   - agent: The agent.
    ///   - now: The time.
    ///   - clock: The same in nanoseconds since 1970.
    /// - Returns: What is new or has changed.
    package mutating func record(
        _ pods: [OfferedPod], of agent: String, now: MonotonicTime, clock: UInt64
    ) -> [Entry] {
        var changes: [Entry] = []
        var seen: Set<IPAddress> = []
        for pod in pods {
            for address in pod.addresses where address.isOfPod && seen.insert(address).inserted {
                let entry = Entry(
                    address: address, namespace: pod.namespace, name: pod.name, agent: agent,
                    from: clock, seenAt: now)
                if set(entry, now: now) { changes.append(entry) }
            }
        }
        for address in addresses[agent, default: []].subtracting(seen)
        where entries[address]?.to == nil {
            entries[address]?.to = clock
            version += 1
        }
        return changes
    }

    /// Ends what no agent has said for `holdTime`, as its agent is gone.
    package mutating func expire(now: MonotonicTime, clock: UInt64) {
        for (address, entry) in entries
        where entry.to == nil && now - entry.seenAt > Self.holdTime {
            entries[address]?.to = clock
            version += 1
        }
    }

    /// The names that hold now, by addresses.
    package var current: [Entry] { all.filter { $0.to == nil } }

    /// The last name of each address, by addresses.
    package var all: [Entry] { entries.values.sorted { $0.address < $1.address } }

    /// Sets a name; returns whether it is new.
    private mutating func set(_ entry: Entry, now: MonotonicTime) -> Bool {
        if let known = entries[entry.address] {
            guard known.agent == entry.agent || now - known.seenAt > Self.holdTime else {
                counts.taken += 1
                return false
            }
            if known.agent == entry.agent, known.hostName == entry.hostName, known.to == nil {
                entries[entry.address]?.seenAt = now
                return false
            }
        } else {
            if entries.count >= Self.countMax { forgetOldest() }
            guard entries.count < Self.countMax,
                addresses[entry.agent, default: []].count < Self.agentCountMax
            else {
                counts.notKept += 1
                return false
            }
        }
        if let old = entries.updateValue(entry, forKey: entry.address) { disown(old) }
        addresses[entry.agent, default: []].insert(entry.address)
        version += 1
        return true
    }

    /// Forgets the name that ended first, if any has ended.
    ///
    /// It looks at all of them, which only a cluster larger than `countMax` makes it do.
    private mutating func forgetOldest() {
        let oldest = entries.values.filter { $0.to != nil }.min { $0.to ?? 0 < $1.to ?? 0 }
        guard let oldest else { return }
        entries[oldest.address] = nil
        disown(oldest)
    }

    private mutating func disown(_ entry: Entry) {
        addresses[entry.agent]?.remove(entry.address)
        if addresses[entry.agent]?.isEmpty == true { addresses[entry.agent] = nil }
    }
}

extension IPAddress {
    /// Whether it may be one pod's own address.
    fileprivate var isOfPod: Bool {
        guard !isLoopback, !isLinkLocalIPv6 else { return false }
        // No address (RFC 1122, 3.2.1.3), no group, and no broadcast.
        return family == .ipv4
            ? bytes[0] != 0 && bytes[0] < 224 : bytes[0] != 0xff && (high, low) != (0, 0)
    }
}
