package import Addressing
import Security
package import Time

/// The admission of agents that dial.
///
/// A connection is pending until packets come. Hosts that connect and stay silent must not take the
/// places of agents: each network has a few pending connections, and the one that is silent longest
/// goes when there are too many. Networks from which agents have captured have places of their own.
/// Whatever a limit does is counted.
package struct AgentAdmission {
    private var admission = Admission(
        Admission.Limits(
            loggedInCountMax: Self.capturingCountMax, pendingCountMax: Self.pendingCountMax,
            leavingCountMax: Self.pendingCountMax, countMaxPerNetwork: Self.countMaxPerNetwork,
            patience: Self.patience))
    /// The links that were admitted, by their numbers, and the other way round.
    private var ids: [Int: Admission.ID] = [:]
    private var links: [Admission.ID: Int] = [:]
    private var knownNetworks: Set<IPNetwork> = []
    /// What the limits have done.
    package private(set) var counts = AdmissionCounts()

    /// The most agents that capture, as many as a sensor is sold for.
    package static let capturingCountMax = 512
    /// The most pending connections: agents need some hundredths of a second each.
    package static let pendingCountMax = 64
    /// The most pending connections of one address or IPv6 /64; agents may share an address.
    package static let countMaxPerNetwork = 16
    /// The time in which an agent begins also over a slow path, with TLS.
    package static let patience = Duration.seconds(5)
    /// The most networks that are remembered; one more, and all are forgotten.
    private static let knownNetworkCountMax = 4096

    package init() {}

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
        guard !admission.isFull else {
            counts.refused += 1
            return .refused("there are \(Self.capturingCountMax)")
        }
        let isKnown = knownNetworks.contains(Admission.network(of: address))
        switch admission.admit(address, isKnown: isKnown, now: now) {
        case .refused(.networkLimit):
            counts.refused += 1
            return .refused(
                "\(Self.countMaxPerNetwork) connections from there have sent no packets yet")
        case .refused(.leavingLimit):
            counts.refused += 1
            return .refused("too many connections have sent no packets")
        case .admitted(let id, let evicted):
            if evicted != nil { counts.evicted += 1 }
            (ids[link], links[id]) = (id, link)
            return .admitted(evicted: evicted.flatMap { links[$0] })
        }
    }

    /// Records that packets come.
    ///
    /// - Returns: False if there are too many agents already.
    package mutating func beginCapture(_ address: IPAddress, as link: Int) -> Bool {
        guard let id = ids[link] else { return true }
        guard admission.logIn(id) else { return false }
        if knownNetworks.count >= Self.knownNetworkCountMax { knownNetworks = [] }
        knownNetworks.insert(Admission.network(of: address))
        return true
    }

    /// Removes a link that is gone.
    package mutating func remove(_ link: Int) {
        guard let id = ids.removeValue(forKey: link) else { return }
        links[id] = nil
        admission.remove(id)
    }

    /// Whether no more agents are admitted.
    package var isFull: Bool { admission.isFull }
}

/// What a collector's limits for connections have done.
package struct AdmissionCounts: Equatable, Sendable {
    /// Connections that were refused.
    package var refused: UInt64 = 0
    /// Connections that had to go for others, since they had sent no packets.
    package var evicted: UInt64 = 0

    package init() {}
}

extension AdmissionCounts: CustomStringConvertible {
    package var description: String {
        "connections without packets: \(refused) refused, \(evicted) ended for others"
    }
}
