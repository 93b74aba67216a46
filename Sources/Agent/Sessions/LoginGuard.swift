package import Addressing
import Security
import Synchronization
package import Time

/// The check of passwords, which slows down guessing over all sessions, and keeps wrong logins from
/// holding up right ones.
///
/// A check takes a tenth of a second of a processor. Few logins wait for one, and more are told to
/// come again. Networks from which a login was right before have a line of their own, which no
/// number of others makes longer. So checks cost the node two processors at most.
final class LoginGuard: Sendable {
    private let users: UserFile
    private let state = Mutex(State())
    private let checkingKnown = Mutex(())
    private let checkingOthers = Mutex(())

    private struct State {
        var throttle = LoginThrottle()
        var known = KnownNetworks()
        /// Logins that are checked or wait for it, of known networks and of others.
        var knownCount = 0
        var otherCount = 0
    }

    /// The most logins in a line: half a second of checks, so that the last one of them is done
    /// before a person tries again.
    private static let lineCountMax = 5

    init(_ users: UserFile) { self.users = users }

    /// Whether a login from the network of this address was right before.
    func isKnown(_ address: IPAddress) -> Bool { state.withLock { $0.known.contains(address) } }

    /// Checks the name and the password of a user.
    ///
    /// An address whose last login was wrong has to wait, a second at first. Until then its logins are
    /// refused untried.
    func verify(
        user: [UInt8], password: [UInt8], from address: IPAddress, now: MonotonicTime
    ) -> LoginOutcome {
        let (refusal, isKnown) = state.withLock { state in
            let isKnown = state.known.contains(address)
            return (Self.join(&state, address, isKnown, now), isKnown)
        }
        if let refusal { return refusal }
        let isRight: Bool
        if isKnown {
            isRight = checkingKnown.withLock { _ in users.verify(user: user, password: password) }
        } else {
            isRight = checkingOthers.withLock { _ in users.verify(user: user, password: password) }
        }
        state.withLock { state in
            if isKnown { state.knownCount -= 1 } else { state.otherCount -= 1 }
            guard isRight else { return }
            state.throttle.forgive(address)
            state.known.add(address)
        }
        return isRight ? .right : .wrong
    }

    /// Puts a login in line.
    ///
    /// - Returns: Nil, or why it is not.
    private static func join(
        _ state: inout State, _ address: IPAddress, _ isKnown: Bool, _ now: MonotonicTime
    ) -> LoginOutcome? {
        guard !state.throttle.isBarred(address, now: now) else { return .untried }
        guard (isKnown ? state.knownCount : state.otherCount) < lineCountMax else {
            return .crowded
        }
        guard state.throttle.admit(address, now: now) else { return .untried }
        if isKnown { state.knownCount += 1 } else { state.otherCount += 1 }
        return nil
    }
}

extension LoginOutcome {
    /// The line in the log.
    var text: String {
        switch self {
        case .right: "logged in"
        case .wrong: "wrong name or password"
        case .untried: "login refused untried: too many wrong logins from there, or many at once"
        case .crowded: "login refused untried: too many logins wait for their check"
        }
    }
}

/// The networks from which a login was right, the last ones of them.
package struct KnownNetworks: Sendable {
    /// The one that logged in last is at the end.
    private var networks: [IPNetwork] = []

    /// The most networks that are remembered: several times as many as clients can be connected.
    package static let countMax = 64

    /// No networks.
    package init() {}

    /// Whether a login from the network of an address was right.
    package func contains(_ address: IPAddress) -> Bool {
        networks.contains(Admission.network(of: address))
    }

    /// Adds the network of an address, and forgets the one that has not logged in for longest.
    package mutating func add(_ address: IPAddress) {
        let network = Admission.network(of: address)
        networks.removeAll { $0 == network }
        networks.append(network)
        if networks.count > Self.countMax { networks.removeFirst() }
    }
}

/// The addresses that have to wait before they may log in again; IPv6 addresses by their /64.
package struct LoginThrottle: Sendable {
    private var entries: [IPNetwork: Entry] = [:]

    private struct Entry {
        var failureCount = 0
        /// Until when logins from this address are refused.
        var barredUntil = MonotonicTime.zero
    }

    /// The most addresses that are remembered.
    ///
    /// If there are more, the address that waits for the shortest time is forgotten.
    package static let addressCountMax = 1024
    /// Failures before the wait grows: people mistype.
    private static let freeFailureCount = 3
    private static let waitMin = Duration.seconds(1)
    private static let waitMax = Duration.seconds(60)
    /// The time after which earlier failures do not count.
    private static let memory = Duration.seconds(600)

    /// A throttle that has seen no login.
    package init() {}

    /// Whether logins from an address are refused now.
    package func isBarred(_ address: IPAddress, now: MonotonicTime) -> Bool {
        entries[Admission.network(of: address)].map { now < $0.barredUntil } ?? false
    }

    /// Admits a login, and counts it as wrong until `forgive`: logins at the same time count, too.
    ///
    /// - Returns: False if the address has to wait.
    package mutating func admit(_ address: IPAddress, now: MonotonicTime) -> Bool {
        guard !isBarred(address, now: now) else { return false }
        let network = Admission.network(of: address)
        var entry = entries[network] ?? Entry()
        if now >= entry.barredUntil + Self.memory { entry.failureCount = 0 }
        entry.failureCount += 1
        let doublings = min(max(0, entry.failureCount - Self.freeFailureCount), 6)
        entry.barredUntil = now + min(Self.waitMin * (1 << doublings), Self.waitMax)
        entries[network] = entry
        if entries.count > Self.addressCountMax,
            let first = entries.min(by: { $0.value.barredUntil < $1.value.barredUntil })
        {
            entries[first.key] = nil
        }
        return true
    }

    /// Forgets the failures of an address whose login was right.
    package mutating func forgive(_ address: IPAddress) {
        entries[Admission.network(of: address)] = nil
    }
}
