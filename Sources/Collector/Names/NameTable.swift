package import Addressing
package import RPCAP
import Security
package import Time

/// The names of addresses, as agents' lists of devices say them.
///
/// An agent names the addresses of its own pods. What it says of an address that another agent has
/// named is not believed until that one has not said it for `holdTime`.
package struct NameTable: Sendable {
    /// A pod at an address.
    package struct Entry: Equatable, Sendable {
        package let address: IPAddress
        package let pod: PodName
        /// The agent that says so, in words for people.
        package let agent: String
        /// The agent's interface, which no other agent has at the time.
        fileprivate let owner: String
        /// The network that the agent is in.
        fileprivate let network: IPNetwork
        /// When it was said first, in nanoseconds since 1970.
        package let from: UInt64
        /// When it was not said any more; nil while it is.
        package fileprivate(set) var to: UInt64?
        fileprivate var seenAt: MonotonicTime

        /// The name as a host's: `"web-1.shop"`.
        package var hostName: String { "\(pod.name).\(pod.namespace)" }
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
    private var placeCounts: [IPNetwork: Int] = [:]
    /// The entries that have ended.
    private var endedCount = 0
    package private(set) var counts = Counts()
    /// A number that changes with each change of a name.
    package private(set) var version = 0

    /// The most addresses, those of a cluster of 30,000 pods with two each.
    package static let countMax = 65_536
    /// The most addresses of one agent, so that one that lies takes few of the others' places.
    package static let agentCountMax = 2048
    /// The most addresses of the agents at one address or IPv6 /64, where many may be behind NAT.
    package static let networkCountMax = 16_384
    /// The time for which an address belongs to an agent that has stopped to name it.
    package static let holdTime = Duration.seconds(300)

    /// A table without names.
    package init() {}

    /// Records what an agent says.
    ///
    /// - Parameters:
    ///   - pods: All its pods.
    ///   - agent: The agent, in words for people.
    ///   - owner: The name of its interface, which no other agent has at the time.
    ///   - peer: The address that it connects from.
    ///   - now: The time.
    ///   - clock: The same in nanoseconds since 1970.
    /// - Returns: What is new or has changed.
    package mutating func record(
        _ pods: [OfferedPod], of agent: String, _ owner: String, at peer: IPAddress,
        now: MonotonicTime, clock: UInt64
    ) -> [Entry] {
        // An agent that has just begun does not know its pods' names yet.
        if pods.isEmpty { return [] }
        let network = Admission.network(of: peer)
        var changes: [Entry] = []
        var seen: Set<IPAddress> = []
        for pod in pods {
            for address in pod.addresses where address.isOfPod && seen.insert(address).inserted {
                let entry = Entry(
                    address: address, pod: pod.name, agent: agent,
                    owner: owner, network: network, from: clock, seenAt: now)
                if set(entry, now: now) { changes.append(entry) }
            }
        }
        for address in addresses[owner, default: []].subtracting(seen)
        where entries[address]?.to == nil {
            end(address, clock)
        }
        return changes
    }

    /// Ends what no agent has said for `holdTime`, as its agent is gone.
    package mutating func expire(now: MonotonicTime, clock: UInt64) {
        for (address, entry) in entries
        where entry.to == nil && now - entry.seenAt > Self.holdTime {
            end(address, clock)
        }
    }

    private mutating func end(_ address: IPAddress, _ clock: UInt64) {
        entries[address]?.to = clock
        endedCount += 1
        version += 1
    }

    /// The last name of each address, by addresses.
    package var all: [Entry] { entries.values.sorted { $0.address < $1.address } }

    /// Sets a name; returns whether it is new.
    private mutating func set(_ entry: Entry, now: MonotonicTime) -> Bool {
        if let known = entries[entry.address] {
            guard known.owner == entry.owner || now - known.seenAt > Self.holdTime else {
                counts.taken += 1
                return false
            }
            if known.owner == entry.owner, known.hostName == entry.hostName, known.to == nil {
                entries[entry.address]?.seenAt = now
                return false
            }
        } else {
            guard addresses[entry.owner]?.count ?? 0 < Self.agentCountMax,
                placeCounts[entry.network] ?? 0 < Self.networkCountMax, makeRoom()
            else {
                counts.notKept += 1
                return false
            }
        }
        if let old = entries.updateValue(entry, forKey: entry.address) { disown(old) }
        addresses[entry.owner, default: []].insert(entry.address)
        placeCounts[entry.network, default: 0] += 1
        version += 1
        return true
    }

    /// Forgets all names that have ended if there is no room.
    ///
    /// All at once, so that a large cluster does not have it look at all of them each time.
    ///
    /// - Returns: Whether there is room.
    private mutating func makeRoom() -> Bool {
        guard entries.count >= Self.countMax else { return true }
        guard endedCount > 0 else { return false }
        for entry in entries.values where entry.to != nil {
            entries[entry.address] = nil
            disown(entry)
        }
        return true
    }

    /// Takes back what was counted for an entry that is replaced or forgotten.
    private mutating func disown(_ entry: Entry) {
        if entry.to != nil { endedCount -= 1 }
        let count = (placeCounts[entry.network] ?? 0) - 1
        placeCounts[entry.network] = count > 0 ? count : nil
        addresses[entry.owner]?.remove(entry.address)
        if addresses[entry.owner]?.isEmpty == true { addresses[entry.owner] = nil }
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
