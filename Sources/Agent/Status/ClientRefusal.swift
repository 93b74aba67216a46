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

/// The kind of client that has to make room for another one.
enum ClientEviction: CaseIterable {
    case notLoggedIn
    case withoutCapture

    /// The metrics' label `reason`.
    var name: String {
        switch self {
        case .notLoggedIn: "not_logged_in"
        case .withoutCapture: "no_capture"
        }
    }
}

/// The result of a login with a password.
enum LoginOutcome: CaseIterable {
    case right
    case wrong
    /// The address, or its /64, has to wait, so the password was not looked at; it may have been right.
    case untried
    /// Too many logins wait for their check, so the password was not looked at.
    case crowded
    /// Another login took its place in the line, so the password was not looked at.
    case replaced

    /// The metrics' label `reason`; nil for a login that was right.
    var name: String? {
        switch self {
        case .right: nil
        case .wrong: "wrong"
        case .untried: "address_barred"
        case .crowded: "too_many_at_once"
        case .replaced: "replaced"
        }
    }
}
