import Security
import Settings

extension ClientRefusal {
    /// The text for the client and the log.
    var text: String {
        switch self {
        case .notAllowed: "this address is not in the allow list"
        case .networkLimit:
            "too many connections from this address or its IPv6 /64 have not logged in yet"
        case .leavingLimit: "too many clients connect and do not log in, try again"
        case .clientLimit: "there are \(PassiveSettings.clientCountMax) clients already"
        }
    }
}

extension ClientEviction {
    /// The text for the client and the log.
    var text: String {
        switch self {
        case .notLoggedIn: "too many clients connect, and this one had not logged in, try again"
        case .withoutCapture:
            """
            there are \(PassiveSettings.clientCountMax) clients, and this one had to make room for \
            another: it captured nothing
            """
        }
    }
}
