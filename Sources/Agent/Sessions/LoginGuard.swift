import Addressing
import Security
import Synchronization
import Time

/// The check of passwords, which slows down guessing over all sessions, and keeps wrong logins from
/// holding up right ones.
///
/// A check takes a tenth of a second of a processor. Known addresses are checked beside the others. So
/// checks cost the node two processors at most.
final class LoginGuard: Sendable {
    private let users: UserFile
    private let line = Mutex(LoginLine())
    private let checkingKnown = Mutex(())
    private let checkingOthers = Mutex(())

    init(_ users: UserFile) { self.users = users }

    /// Whether a login from this address was right before.
    func isKnown(_ address: IPAddress) -> Bool { line.withLock { $0.isKnown(address) } }

    /// Checks the name and the password of a user.
    ///
    /// An address whose last login was wrong has to wait, a second at first. Until then its logins are
    /// refused untried.
    func verify(
        user: [UInt8], password: [UInt8], from address: IPAddress, now: MonotonicTime
    ) -> Verdict {
        let login: LoginLine.Login
        switch line.withLock({ $0.join(address, now: now) }) {
        case .joined(let joined): login = joined
        case .barred(let wait): return Verdict(outcome: .untried, wait: wait)
        case .crowded: return Verdict(outcome: .crowded)
        }
        let outcome =
            login.isKnown
            ? checkingKnown.withLock { _ in check(login, user, password) }
            : checkingOthers.withLock { _ in check(login, user, password) }
        return Verdict(outcome: outcome)
    }

    /// What has become of a login, and what its client is told.
    struct Verdict {
        let outcome: LoginOutcome
        /// The time until the client's logins are looked at again, if this one was not.
        var wait = Duration.zero

        /// The text for a client whose password was not looked at; nil if it was.
        var refusal: String? { outcome.refusal(until: wait) }
    }

    /// Checks a login whose turn has come.
    private func check(
        _ login: LoginLine.Login, _ user: [UInt8], _ password: [UInt8]
    ) -> LoginOutcome {
        guard line.withLock({ $0.begin(login) }) else { return .replaced }
        let isRight = users.verify(user: user, password: password)
        line.withLock { $0.finish(login, isRight: isRight) }
        return isRight ? .right : .wrong
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
        case .replaced: "login refused untried: another one took its place in the line"
        }
    }

    /// The text for a client whose password was not looked at; nil if it was.
    fileprivate func refusal(until wait: Duration) -> String? {
        switch self {
        case .right, .wrong: nil
        case .untried:
            """
            the password was not tried: there were wrong ones from this address or its IPv6 /64, or \
            another one is being checked; try again in \((Int(wait.waitMilliseconds) + 999) / 1000) s
            """
        case .crowded: "the password was not tried: too many logins at once, try again"
        case .replaced:
            "the password was not tried: another login took its place in the line, try again"
        }
    }
}
