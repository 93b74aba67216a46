package import Addressing
import Security
package import Time

/// The logins whose passwords are checked or wait for it, and who may join them.
///
/// Few logins wait, and more are told to come again. An address has one login there: a newer one
/// takes the place of one that waits. When the line is full, a newcomer takes the place of one of a
/// network that has more of them, and has as many at least afterwards. Known addresses, from which
/// a login was right before, have a line of their own, which no number of others makes longer.
package struct LoginLine: Sendable {
    private var throttle = LoginThrottle()
    private var known = KnownAddresses()
    /// The logins in line; the oldest first.
    private var logins: [Login] = []
    private var nextNumber: UInt64 = 0

    /// The most logins in a line: half a second of checks, so that the last one of them is done
    /// before a person tries again.
    package static let countMax = 5

    /// A login in the line.
    package struct Login: Sendable {
        fileprivate let number: UInt64
        fileprivate let source: PeerSource
        /// Whether it is in the line of known addresses.
        package let isKnown: Bool
        fileprivate var isBegun = false
    }

    /// What becomes of a login.
    package enum Answer: Sendable {
        /// It waits for its turn; then comes `begin`.
        case joined(Login)
        /// Its address, or its network, has to wait for this duration.
        case barred(Duration)
        /// Too many logins wait.
        case crowded
    }

    /// A line without logins, which knows no address.
    package init() {}

    /// Whether a login from this address was right before.
    package func isKnown(_ address: IPAddress) -> Bool { known.contains(address) }

    /// Puts a login in line.
    package mutating func join(_ address: IPAddress, now: MonotonicTime) -> Answer {
        let source = PeerSource(address)
        let isKnown = known.contains(address)
        let rivals = logins.filter { $0.isKnown == isKnown }
        if let old = rivals.first(where: { $0.source == source && !$0.isBegun }) {
            // The newer one is counted already.
            remove(old)
        } else {
            let wait = throttle.wait(of: address, isKnown: isKnown, now: now)
            guard wait <= .zero else { return .barred(wait) }
            if rivals.count >= Self.countMax {
                let index = source.rival(
                    among: rivals.map(\.source), mayGo: { !rivals[$0].isBegun }, excess: 2)
                guard let index else { return .crowded }
                remove(rivals[index])
                throttle.withdraw(rivals[index].source.address, isKnown: isKnown, now: now)
            }
            _ = throttle.admit(address, isKnown: isKnown, now: now)
        }
        let login = Login(number: nextNumber, source: source, isKnown: isKnown)
        nextNumber += 1
        logins.append(login)
        return .joined(login)
    }

    private mutating func remove(_ login: Login) { logins.removeAll { $0.number == login.number } }

    /// Begins to check a login.
    ///
    /// - Returns: False if a newer one has taken its place.
    package mutating func begin(_ login: Login) -> Bool {
        guard let index = logins.firstIndex(where: { $0.number == login.number }) else {
            return false
        }
        logins[index].isBegun = true
        return true
    }

    /// Takes a login that was checked out of the line.
    package mutating func finish(_ login: Login, isRight: Bool) {
        remove(login)
        guard isRight else { return }
        throttle.forgive(login.source.address, isKnown: login.isKnown)
        known.add(login.source.address)
    }
}

/// The addresses from which a login was right, the last ones of them.
package struct KnownAddresses: Sendable {
    /// The one that logged in last is at the end.
    private var sources: [PeerSource] = []

    /// The most addresses that are remembered: several times as many as clients can be connected.
    package static let countMax = 64

    /// No addresses.
    package init() {}

    /// Whether a login from this address was right.
    package func contains(_ address: IPAddress) -> Bool {
        sources.contains { $0.address == address }
    }

    /// Adds an address, and forgets another one if there are too many.
    ///
    /// The one is of the network with most of them, so that nobody who has many addresses makes
    /// others forgotten. Of that network it is the one that has not logged in for longest.
    package mutating func add(_ address: IPAddress) {
        let source = PeerSource(address)
        sources.removeAll { $0 == source }
        if sources.count >= Self.countMax, let index = source.rival(among: sources) {
            sources.remove(at: index)
        }
        sources.append(source)
    }
}
