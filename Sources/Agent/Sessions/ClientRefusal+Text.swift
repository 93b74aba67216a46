import Security
import Settings

extension ClientRefusal {
    /// The text for the client and the log.
    var text: String {
        switch self {
        case .notAllowed: "this address is not in the allow list"
        case .networkLimit:
            """
            \(ClientSlots.limits.countMaxPerNetwork) connections from this address have not logged \
            in yet
            """
        case .leavingLimit: "too many clients connect and do not log in, try again"
        case .clientLimit: "there are \(PassiveSettings.clientCountMax) clients already"
        }
    }
}
