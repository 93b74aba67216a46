import Addressing
import Synchronization
import Security

/// Slows down those who guess passwords, over all their sessions, and keeps what they cost the node to
/// one core.
final class LoginGuard: Sendable {
    private let users: UserFile
    private let failures = Mutex<[IPAddress: Failures]>([:])
    /// A password takes a tenth of a second of a processor, so there is one at a time.
    private let checking = Mutex(())

    private struct Failures {
        var count = 0
        /// Until when nothing from this address is looked at.
        var barredUntil: UInt64 = 0
    }

    /// Addresses that are remembered; of more, the one that is barred for the shortest time is
    /// forgotten.
    private static let addressCountMax = 1024
    /// People mistype; the third time in a row is one too many.
    private static let failureCountFree = 3
    private static let secondsMax: UInt64 = 60
    private static let forgottenNanoseconds: UInt64 = 600_000_000_000

    init(_ users: UserFile) { self.users = users }

    /// What has become of a try.
    enum Outcome {
        case right
        case wrong
        /// Not looked at; it may have been right.
        case untried
    }

    /// Whether these are the name and the password of a user. An address whose last try was wrong has
    /// to wait, a second at first; what it tries before is refused and not looked at.
    func verify(user: [UInt8], password: [UInt8], from address: IPAddress, now: UInt64) -> Outcome {
        guard begin(address, now) else { return .untried }
        let isRight = checking.withLock { _ in users.verify(user: user, password: password) }
        if isRight { failures.withLock { $0[address] = nil } }
        return isRight ? .right : .wrong
    }

    /// Counts the try as wrong before it is known to be: many at once are as many tries.
    private func begin(_ address: IPAddress, _ now: UInt64) -> Bool {
        failures.withLock { failures in
            var entry = failures[address] ?? Failures()
            guard now >= entry.barredUntil else { return false }
            if now >= entry.barredUntil + Self.forgottenNanoseconds { entry.count = 0 }
            entry.count += 1
            let shift = min(max(0, entry.count - Self.failureCountFree), 6)
            entry.barredUntil = now + min(1 << UInt64(shift), Self.secondsMax) * 1_000_000_000
            failures[address] = entry
            if failures.count > Self.addressCountMax,
                let first = failures.min(by: { $0.value.barredUntil < $1.value.barredUntil })
            {
                failures[first.key] = nil
            }
            return true
        }
    }
}

extension LoginGuard.Outcome {
    /// For the log.
    var text: String {
        switch self {
        case .right: "logged in"
        case .wrong: "wrong name or password"
        case .untried: "login refused untried: too many wrong logins from there, or many at once"
        }
    }
}
