/// The limit for which a client is sent away.
enum ClientRefusal: CaseIterable {
    case notAllowed
    case networkLimit
    case leavingLimit
    case clientLimit

    /// The metrics' label `reason`.
    var name: String {
        switch self {
        case .notAllowed: "not_allowed"
        case .networkLimit: "network_limit"
        case .leavingLimit: "leaving_limit"
        case .clientLimit: "client_limit"
        }
    }
}

/// The result of a login with a password.
enum LoginOutcome: CaseIterable {
    case right
    case wrong
    /// The address has to wait, so the password was not looked at; it may have been right.
    case untried
    /// Too many logins wait for their check, so the password was not looked at.
    case crowded

    /// The metrics' label `reason`; nil for a login that was right.
    var name: String? {
        switch self {
        case .right: nil
        case .wrong: "wrong"
        case .untried: "address_barred"
        case .crowded: "too_many_at_once"
        }
    }
}
