package import Addressing
import Security
import Synchronization
package import Time

/// The check of passwords, which slows down guessing over all sessions and costs the node one core at
/// most.
final class LoginGuard: Sendable {
    private let users: UserFile
    private let throttle = Mutex(LoginThrottle())
    /// A password takes a tenth of a second of a processor, so one is checked at a time.
    private let checking = Mutex(())

    init(_ users: UserFile) { self.users = users }

    /// The result of a login.
    enum Outcome {
        case right
        case wrong
        /// The password was not looked at; it may have been right.
        case untried
    }

    /// Checks the name and the password of a user.
    ///
    /// An address whose last login was wrong has to wait, a second at first. Until then its logins are
    /// refused untried.
    func verify(
        user: [UInt8], password: [UInt8], from address: IPAddress, now: MonotonicTime
    ) -> Outcome {
        guard throttle.withLock({ $0.admit(address, now: now) }) else { return .untried }
        let isRight = checking.withLock { _ in users.verify(user: user, password: password) }
        if isRight { throttle.withLock { $0.forgive(address) } }
        return isRight ? .right : .wrong
    }
}

extension LoginGuard.Outcome {
    /// The line in the log.
    var text: String {
        switch self {
        case .right: "logged in"
        case .wrong: "wrong name or password"
        case .untried: "login refused untried: too many wrong logins from there, or many at once"
        }
    }
}

/// The addresses that have to wait before they may log in again.
package struct LoginThrottle: Sendable {
    private var entries: [IPAddress: Entry] = [:]

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
        entries[address].map { now < $0.barredUntil } ?? false
    }

    /// Admits a login, and counts it as wrong until `forgive`: logins at the same time count, too.
    ///
    /// - Returns: False if the address has to wait.
    package mutating func admit(_ address: IPAddress, now: MonotonicTime) -> Bool {
        guard !isBarred(address, now: now) else { return false }
        var entry = entries[address] ?? Entry()
        if now >= entry.barredUntil + Self.memory { entry.failureCount = 0 }
        entry.failureCount += 1
        let doublings = min(max(0, entry.failureCount - Self.freeFailureCount), 6)
        entry.barredUntil = now + min(Self.waitMin * (1 << doublings), Self.waitMax)
        entries[address] = entry
        if entries.count > Self.addressCountMax,
            let first = entries.min(by: { $0.value.barredUntil < $1.value.barredUntil })
        {
            entries[first.key] = nil
        }
        return true
    }

    /// Forgets the failures of an address whose login was right.
    package mutating func forgive(_ address: IPAddress) { entries[address] = nil }
}
