package import Addressing
import Security
package import Time

/// The admission of agents that dial.
///
/// A connection is pending until it captures, which is when its data connection is open. Hosts that
/// connect and stay silent must not take the places of agents: each network has a few pending
/// connections, and the one that is silent longest goes when there are too many. Networks from which
/// agents have captured have places of their own. When all places of agents are taken, the network
/// that has the most gives one up to a network with fewer. Whatever a limit does is counted.
package struct AgentAdmission {
    private var admission: Admission
    private let countMax: Int
    /// The links that were admitted, by their numbers, and the other way round.
    private var ids: [Int: Admission.ID] = [:]
    private var links: [Admission.ID: Int] = [:]
    /// The networks of links that capture, and how many places each has.
    private var capturing: [Int: IPNetwork] = [:]
    private var placeCounts: [IPNetwork: Int] = [:]
    private var knownNetworks: Set<IPNetwork> = []
    /// What the limits have done.
    package private(set) var counts = AdmissionCounts()

    /// The most agents that capture, those of a cluster of 5,000 nodes.
    package static let capturingCountMax = 5120
    /// What that number may be.
    package static let capturingCounts = 1...capturingCountMax
    /// The most pending connections: agents need some hundredths of a second each.
    package static let pendingCountMax = 64
    /// The most pending connections of one address or IPv6 /64; agents may share an address.
    package static let countMaxPerNetwork = 16
    /// The time in which an agent begins also over a slow path, with TLS.
    package static let patience = Duration.seconds(5)
    /// The most networks that are remembered; one more, and all are forgotten.
    private static let knownNetworkCountMax = 8192

    /// Admits nobody yet.
    ///
    /// - Parameter countMax: The most agents that capture.
    package init(countMax: Int = Self.capturingCountMax) {
        self.countMax = countMax
        admission = Admission(
            Admission.Limits(
                loggedInCountMax: countMax, pendingCountMax: Self.pendingCountMax,
                leavingCountMax: Self.pendingCountMax,
                countMaxPerNetwork: Self.countMaxPerNetwork, patience: Self.patience))
    }

    /// What becomes of a connection.
    package enum Decision: Equatable, Sendable {
        /// It stays, and the link that `evicted` names has to go.
        case admitted(evicted: Int?)
        case refused(String)
    }

    /// Admits a connection under a number.
    package mutating func admit(
        _ address: IPAddress, as link: Int, now: MonotonicTime
    ) -> Decision {
        let network = Admission.network(of: address)
        guard !admission.isFull || richNetwork(beside: network) != nil else {
            return refuse(fullReason)
        }
        switch admission.admit(address, isKnown: knownNetworks.contains(network), now: now) {
        case .refused(.networkLimit):
            return refuse(
                "\(Self.countMaxPerNetwork) connections from there have not begun to capture yet")
        case .refused(.leavingLimit):
            return refuse("too many connections have not begun to capture")
        case .admitted(let id, let evicted):
            if evicted != nil { counts.evicted += 1 }
            (ids[link], links[id]) = (id, link)
            return .admitted(evicted: evicted.flatMap { links[$0] })
        }
    }

    private var fullReason: String { "there are \(countMax) agents" }

    private mutating func refuse(_ reason: String) -> Decision {
        counts.refused += 1
        return .refused(reason)
    }

    /// Records that a link captures.
    ///
    /// If all places are taken, the network that has the most loses one to a network with fewer: of
    /// the link that carries nothing for the longest time.
    ///
    /// - Parameters:
    ///   - address: The agent's address.
    ///   - link: The agent's link.
    ///   - activeAt: When a link carried its last packet, or else when it connected.
    /// - Returns: Whether it may capture, and whose place it takes.
    package mutating func beginCapture(
        _ address: IPAddress, as link: Int, activeAt: (Int) -> MonotonicTime
    ) -> Decision {
        guard let id = ids[link], capturing[link] == nil else { return .admitted(evicted: nil) }
        let network = Admission.network(of: address)
        var evicted: Int?
        if admission.isFull {
            guard let rich = richNetwork(beside: network) else { return refuse(fullReason) }
            let rivals = capturing.filter { $0.value == rich }.keys
            evicted = rivals.min { (activeAt($0), $0) < (activeAt($1), $1) }
            if let evicted {
                remove(evicted)
                counts.evicted += 1
            }
        }
        guard admission.logIn(id) else { return refuse(fullReason) }
        capturing[link] = network
        placeCounts[network, default: 0] += 1
        if knownNetworks.count >= Self.knownNetworkCountMax { knownNetworks = [] }
        knownNetworks.insert(network)
        return .admitted(evicted: evicted)
    }

    /// The network that has the most places, if another one still has no more with one of them.
    private func richNetwork(beside network: IPNetwork) -> IPNetwork? {
        guard let rich = placeCounts.max(by: { $0.value < $1.value }),
            rich.value > placeCounts[network, default: 0] + 1
        else { return nil }
        return rich.key
    }

    /// Removes a link that is gone.
    package mutating func remove(_ link: Int) {
        if let network = capturing.removeValue(forKey: link) {
            let count = placeCounts[network, default: 0] - 1
            placeCounts[network] = count > 0 ? count : nil
        }
        guard let id = ids.removeValue(forKey: link) else { return }
        links[id] = nil
        admission.remove(id)
    }
}

/// What a collector's limits for connections have done.
package struct AdmissionCounts: Equatable, Sendable {
    /// Connections that were refused.
    package var refused: UInt64 = 0
    /// Connections that had to go for others.
    package var evicted: UInt64 = 0

    package init() {}
}

extension AdmissionCounts: CustomStringConvertible {
    package var description: String {
        "limits of connections: \(refused) refused, \(evicted) ended for others"
    }
}
