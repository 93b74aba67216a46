package import Addressing

/// The admission of peers that connect, so that those who have not logged in keep nobody out.
///
/// A peer is pending from its admission to its login. When too many are pending, the one that waits
/// longest is evicted; it is leaving until `remove`, since its thread and its descriptor end only
/// then. A peer of a network from which a login was right before is known. Known peers have places
/// of their own, which no number of others can take.
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
        /// The most pending and leaving peers of one network.
        package let countMaxPerNetwork: Int

        /// Bounds of a kind of peer.
        package init(
            loggedInCountMax: Int, pendingCountMax: Int, leavingCountMax: Int,
            countMaxPerNetwork: Int
        ) {
            self.loggedInCountMax = loggedInCountMax
            self.pendingCountMax = pendingCountMax
            self.leavingCountMax = leavingCountMax
            self.countMaxPerNetwork = countMaxPerNetwork
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
        var isEvicted = false
    }

    /// An admission that has admitted nobody.
    package init(_ limits: Limits) { self.limits = limits }

    /// Admits a peer, and evicts another one if need be.
    package mutating func admit(_ address: IPAddress, isKnown: Bool = false) -> Decision {
        let network = Self.network(of: address)
        guard pending.count(where: { $0.network == network }) < limits.countMaxPerNetwork else {
            return .refused(.networkLimit)
        }
        let rivals = pending.indices.filter { pending[$0].isKnown == isKnown }
        let waiting = rivals.filter { !pending[$0].isEvicted }
        var evicted: ID?
        if waiting.count >= limits.pendingCountMax, let oldest = waiting.first {
            guard rivals.count - waiting.count < limits.leavingCountMax else {
                return .refused(.leavingLimit)
            }
            pending[oldest].isEvicted = true
            evicted = pending[oldest].id
        }
        let id = ID(number: nextID)
        nextID += 1
        pending.append(Peer(id: id, network: network, isKnown: isKnown))
        return .admitted(id, evicted: evicted)
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
