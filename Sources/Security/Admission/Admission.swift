package import Addressing
package import Time

/// The admission of peers that connect, so that those who have not logged in keep nobody out.
///
/// A peer is pending from its admission to its login. When too many are pending, one is evicted; it
/// is leaving until `remove`, since its thread and its descriptor end only then. Each bound is shared
/// fairly: the network with most peers gives one up, there the address with most, and there the
/// oldest one goes. So a host takes no place of its neighbours, and a network none of the others.
/// A peer of an address from which a login was right before is known. Known peers have places of
/// their own, which no number of others can take.
package struct Admission: Sendable {
    private let limits: Limits
    /// The peers that have not logged in; the oldest first.
    private var pending: [Peer] = []
    /// The peers that have; the oldest login first.
    private var loggedIn: [Peer] = []
    private var nextID: UInt64 = 0

    /// The bounds of an admission.
    package struct Limits: Sendable {
        /// The most peers that are logged in.
        package let loggedInCountMax: Int
        /// The most pending peers; as many known ones may be pending beside them.
        package let pendingCountMax: Int
        /// The most peers on their way out, each among the known ones, the others, and those that are
        /// logged in.
        ///
        /// When an eviction would make one more, the newcomer is refused.
        package let leavingCountMax: Int
        /// The most pending peers of one address; as many may be leaving beside them.
        package let countMaxPerAddress: Int
        /// The most pending peers of one network; as many may be leaving beside them.
        package let countMaxPerNetwork: Int
        /// The time for which a peer is safe from newcomers of its own address.
        ///
        /// It is longer than a login takes, so that one host that connects without end does not
        /// keep others behind its address from logging in.
        package let patience: Duration

        /// Bounds of a kind of peer; those of an address are those of a network if none are given.
        package init(
            loggedInCountMax: Int, pendingCountMax: Int, leavingCountMax: Int,
            countMaxPerAddress: Int? = nil, countMaxPerNetwork: Int, patience: Duration
        ) {
            self.loggedInCountMax = loggedInCountMax
            self.pendingCountMax = pendingCountMax
            self.leavingCountMax = leavingCountMax
            self.countMaxPerAddress = countMaxPerAddress ?? countMaxPerNetwork
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
        /// Too many peers of its address, or of its network, have not logged in.
        case networkLimit
        /// Too many peers were evicted and have not gone yet.
        case leavingLimit
    }

    /// What becomes of a peer that logs in.
    package enum LoginDecision: Equatable, Sendable {
        /// The peer is logged in, and another one has to go if `evicted` names one.
        case admitted(evicted: ID?)
        /// Too many are logged in already, and none of them makes room.
        case refused
    }

    private struct Peer {
        let id: ID
        let source: PeerSource
        let isKnown: Bool
        let arrivedAt: MonotonicTime
        var isEvicted = false
        /// Whether the peer, which has logged in, does nothing that others would wait for.
        var isIdle = false
    }

    /// An admission that has admitted nobody.
    package init(_ limits: Limits) { self.limits = limits }

    /// Admits a peer, and evicts another one if need be.
    package mutating func admit(
        _ address: IPAddress, isKnown: Bool = false, now: MonotonicTime
    ) -> Decision {
        let source = PeerSource(address)
        let outgoing: Int?
        switch placeForPending(source, isKnown, now) {
        case .free: outgoing = nil
        case .taken(let index): outgoing = index
        case .none(let refusal): return .refused(refusal)
        }
        let id = ID(number: nextID)
        nextID += 1
        if let outgoing { pending[outgoing].isEvicted = true }
        let evicted = outgoing.map { pending[$0].id }
        pending.append(Peer(id: id, source: source, isKnown: isKnown, arrivedAt: now))
        return .admitted(id, evicted: evicted)
    }

    private enum Place {
        case free
        /// The place of a peer that has to go, by its index.
        case taken(Int)
        case none(Refusal)
    }

    /// The place for a newcomer among the pending peers: bounds of its address, its network, and all.
    private func placeForPending(_ source: PeerSource, _ isKnown: Bool, _ now: MonotonicTime)
        -> Place
    {
        let rivals = pending.indices.filter { pending[$0].isKnown == isKnown }
        let waiting = rivals.filter { !pending[$0].isEvicted }
        let leaving = rivals.filter { pending[$0].isEvicted }
        let ofAddress = waiting.filter { pending[$0].source == source }
        let ofNetwork = waiting.filter { pending[$0].source.network == source.network }
        let victim: Int?
        if ofAddress.count >= limits.countMaxPerAddress {
            victim = ofAddress.first
            guard let victim, now - pending[victim].arrivedAt >= limits.patience,
                leaving.count(where: { pending[$0].source == source }) < limits.countMaxPerAddress
            else { return .none(.networkLimit) }
        } else if ofNetwork.count >= limits.countMaxPerNetwork {
            victim = index(of: source.rival(among: ofNetwork.map { pending[$0].source }), ofNetwork)
            let leavingCount = leaving.count { pending[$0].source.network == source.network }
            guard leavingCount < limits.countMaxPerNetwork else { return .none(.networkLimit) }
        } else if waiting.count >= limits.pendingCountMax {
            victim = index(of: source.rival(among: waiting.map { pending[$0].source }), waiting)
        } else {
            return .free
        }
        guard let victim, leaving.count < limits.leavingCountMax else {
            return .none(.leavingLimit)
        }
        return .taken(victim)
    }

    private func index(of position: Int?, _ indices: [Int]) -> Int? { position.map { indices[$0] } }

    /// Records that a peer logged in, and keeps its place until it goes.
    ///
    /// A peer that was evicted in the meantime stays.
    ///
    /// - Returns: False if too many are logged in already.
    package mutating func logIn(_ id: ID) -> Bool {
        guard !isFull else { return false }
        move(id, isIdle: false)
        return true
    }

    /// Records that a peer logged in which is idle at first, and evicts another idle one if need be.
    ///
    /// The evicted peer's network has more peers than the newcomer's; or within one network, its
    /// address has more than the newcomer's. So nobody wins a place by coming again and again.
    package mutating func logInIdle(_ id: ID) -> LoginDecision {
        var evicted: ID?
        if isFull {
            guard let peer = pending.first(where: { $0.id == id }),
                let victim = idlePeer(for: peer.source)
            else { return .refused }
            loggedIn[victim].isEvicted = true
            evicted = loggedIn[victim].id
        }
        move(id, isIdle: true)
        return .admitted(evicted: evicted)
    }

    /// Whether `logInIdle` would find a place for a peer.
    package func canLogInIdle(_ id: ID) -> Bool {
        guard isFull else { return true }
        return pending.first { $0.id == id }.map { idlePeer(for: $0.source) != nil } ?? false
    }

    /// The idle peer whose place a newcomer gets when all are taken.
    private func idlePeer(for source: PeerSource) -> Int? {
        guard loggedIn.count(where: \.isEvicted) < limits.leavingCountMax else { return nil }
        let staying = loggedIn.indices.filter { !loggedIn[$0].isEvicted }
        return index(
            of: source.rival(
                among: staying.map { loggedIn[$0].source }, mayGo: { loggedIn[staying[$0]].isIdle },
                excess: 1), staying)
    }

    private mutating func move(_ id: ID, isIdle: Bool) {
        guard let index = pending.firstIndex(where: { $0.id == id }) else { return }
        var peer = pending.remove(at: index)
        (peer.isEvicted, peer.isIdle) = (false, isIdle)
        loggedIn.append(peer)
    }

    /// Records that a peer which has logged in begins to be idle, or ends.
    package mutating func setIdle(_ isIdle: Bool, _ id: ID) {
        guard let index = loggedIn.firstIndex(where: { $0.id == id }) else { return }
        loggedIn[index].isIdle = isIdle
    }

    /// Removes a peer that has gone.
    package mutating func remove(_ id: ID) {
        pending.removeAll { $0.id == id }
        loggedIn.removeAll { $0.id == id }
    }

    /// Whether all places of peers that are logged in are taken.
    package var isFull: Bool {
        loggedIn.count { !$0.isEvicted } >= limits.loggedInCountMax
    }

    /// The number of peers that are here, whatever their state is.
    package var count: Int { pending.count + loggedIn.count }

    /// The number of peers that have not logged in, with those that are leaving.
    package var pendingCount: Int { pending.count }

    /// The network whose peers share a bound: the address itself, or the /64 of an IPv6 address.
    ///
    /// A host gets a whole /64 as a rule, and has more addresses there than can be remembered.
    package static func network(of address: IPAddress) -> IPNetwork { PeerSource(address).network }
}
