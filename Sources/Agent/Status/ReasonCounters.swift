import Metrics
import Security
import Settings

/// A counter for each of a few reasons.
///
/// Any thread may use it.
final class ReasonCounters<Reason: CaseIterable & Hashable & Sendable>: Sendable {
    private let counters: [Reason: Counter]

    /// Creates counters that stand at 0.
    init() {
        counters = Dictionary(uniqueKeysWithValues: Reason.allCases.map { ($0, Counter()) })
    }

    /// Counts one event.
    func add(_ reason: Reason) { counters[reason]?.add() }

    /// The number of events so far.
    func value(_ reason: Reason) -> UInt64 { counters[reason]?.value ?? 0 }
}

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
