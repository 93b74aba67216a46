package import Addressing
package import Time

/// The admission of peers that connect, so that those who have not logged in keep nobody out.
///
/// A peer is pending from its admission to its login. When too many are pending, the one that waits
/// longest is evicted; it is leaving until `remove`, since its thread and its descriptor end only
/// then. Within one network, a newcomer takes the place of a peer that has had the time for a login.
/// A peer of a network from which a login was right before is known. Known peers have places of
/// their own, which no number of others can take.
package struct Admission: Sendable {
    private let limits: Limits
    /// The peers that have not logged in, each with its network; the oldest first.
    private var pending: [Peer] = []
    private var loggedIn: Set<ID> = []
    private var nextID: UInt64 = 0

    /// The bounds of an admission.
    package struct Limits: Sendable {
        /// The most peers that are logged in.
        package let loggedInCountMax: Int
        /// The most pending peers; as many known ones may be pending beside them.
        package let pendingCountMax: Int
        /// The most peers on their way out, among the known ones and among the others.
        ///
        /// When an eviction would make one more, the newcomer is refused.
        package let leavingCountMax: Int
        /// The most pending peers of one network; as many may be leaving beside them.
        package let countMaxPerNetwork: Int
        /// The time for which a peer is safe from newcomers of its own network.
        ///
        /// It is longer than a login takes, so that one host that connects without end does not
        /// keep others behind its address from logging in.
        package let patience: Duration

        /// Bounds of a kind of peer.
        package init(
            loggedInCountMax: Int, pendingCountMax: Int, leavingCountMax: Int,
            countMaxPerNetwork: Int, patience: Duration
        ) {
            self.loggedInCountMax = loggedInCountMax
            self.pendingCountMax = pendingCountMax
            self.leavingCountMax = leavingCountMax
            self.countMaxPerNetwork = countMaxPerNetwork
            self.patience = patience
        }
    }

    /// The name of a peer for as long as it is here.
    package struct ID: Hashable, Sendable {
        fileprivate let number: UInt64
    }

    /// What becomes of a peer that has connected.
    package enum Decision: Equatable, Sendable {
        /// The peer may stay, and another one has to go if `evicted` names one.
        case admitted(ID, evicted: ID?)
        /// There is no place for the peer.
        case refused(Refusal)
    }

    /// The limit for which a peer is refused.
    package enum Refusal: Equatable, Sendable {
        /// Too many peers of its network have not logged in.
        case networkLimit
        /// Too many peers were evicted and have not gone yet.
        case leavingLimit
    }

    private struct Peer {
        let id: ID
        let network: IPNetwork
        let isKnown: Bool
        let arrivedAt: MonotonicTime
        var isEvicted = false
    }

    /// An admission that has admitted nobody.
    package init(_ limits: Limits) { self.limits = limits }

    /// Admits a peer, and evicts another one if need be.
    package mutating func admit(
        _ address: IPAddress, isKnown: Bool = false, now: MonotonicTime
    ) -> Decision {
        let network = Self.network(of: address)
        let rivals = pending.indices.filter { pending[$0].isKnown == isKnown }
        let waiting = rivals.filter { !pending[$0].isEvicted }
        var outgoing: Int?
        if hasRoom(for: network) {
            if waiting.count >= limits.pendingCountMax { outgoing = waiting.first }
        } else {
            outgoing = waiting.first { pending[$0].network == network }
            guard let outgoing, now - pending[outgoing].arrivedAt >= limits.patience,
                leavingCount(of: network) < limits.countMaxPerNetwork
            else { return .refused(.networkLimit) }
        }
        if let outgoing {
            guard rivals.count - waiting.count < limits.leavingCountMax else {
                return .refused(.leavingLimit)
            }
            pending[outgoing].isEvicted = true
        }
        let id = ID(number: nextID)
        nextID += 1
        let evicted = outgoing.map { pending[$0].id }
        pending.append(Peer(id: id, network: network, isKnown: isKnown, arrivedAt: now))
        return .admitted(id, evicted: evicted)
    }

    private func hasRoom(for network: IPNetwork) -> Bool {
        pending.count { $0.network == network && !$0.isEvicted } < limits.countMaxPerNetwork
    }

    private func leavingCount(of network: IPNetwork) -> Int {
        pending.count { $0.network == network && $0.isEvicted }
    }

    /// Records that a peer logged in.
    ///
    /// A peer that was evicted in the meantime stays.
    ///
    /// - Returns: False if too many are logged in already.
    package mutating func logIn(_ id: ID) -> Bool {
        guard !isFull else { return false }
        pending.removeAll { $0.id == id }
        loggedIn.insert(id)
        return true
    }

    /// Removes a peer that has gone.
    package mutating func remove(_ id: ID) {
        pending.removeAll { $0.id == id }
        loggedIn.remove(id)
    }

    /// Whether no more peers can log in.
    package var isFull: Bool { loggedIn.count >= limits.loggedInCountMax }

    /// The number of peers that are here, whatever their state is.
    package var count: Int { pending.count + loggedIn.count }

    /// The number of peers that have not logged in, with those that are leaving.
    package var pendingCount: Int { pending.count }

    /// The network whose peers count as one: the address itself, or the /64 of an IPv6 address.
    ///
    /// A host gets a whole /64 as a rule, and has more addresses there than can be remembered.
    package static func network(of address: IPAddress) -> IPNetwork {
        IPNetwork(address, prefixBitCount: address.family == .ipv4 ? 32 : 64)
    }
}
