/// A count of requests: of one edge, or of a whole capture.
///
/// To add one, add a case, its name and its help; the page of metrics and the log follow. Metrics of
/// the same name stand behind each other.
package enum RequestMetric: Int, CaseIterable, Sendable {
    case held, answered, unanswered, leftToSender, undecided
    case tableFull, tooLong, foreignSource
    case resetsFromElsewhere

    /// The name of the metric, without the program's.
    package var name: String {
        switch self {
        case .held: "requests_held_total"
        case .answered: "requests_answered_total"
        case .unanswered: "requests_unanswered_total"
        case .leftToSender: "requests_left_to_sender_total"
        case .undecided: "requests_abandoned_total"
        case .tableFull, .tooLong, .foreignSource: "requests_not_held_total"
        case .resetsFromElsewhere: "resets_from_elsewhere_total"
        }
    }

    /// The key in the log.
    package var logName: String {
        switch self {
        case .held: "requests_held"
        case .answered: "requests_answered"
        case .unanswered: "requests_unanswered"
        case .leftToSender: "requests_left_to_sender"
        case .undecided: "requests_abandoned"
        case .tableFull: "requests_not_held_table_full"
        case .tooLong: "requests_not_held_too_long"
        case .foreignSource: "requests_not_held_foreign_source"
        case .resetsFromElsewhere: "resets_from_elsewhere"
        }
    }

    /// The label `reason`, which tells metrics of the same name apart.
    package var reason: String? {
        switch self {
        case .tableFull: "table_full"
        case .tooLong: "too_long"
        case .foreignSource: "foreign_source"
        default: nil
        }
    }

    /// What is counted.
    package var help: String {
        switch self {
        case .held:
            "SYNs and pings between pods that were held until an answer came, or none in time."
        case .answered: "Held requests that were answered in time."
        case .unanswered:
            "Held requests that were not answered within half a second: reported late, by their sender's edge."
        case .leftToSender:
            "Held requests that reached their pod and were not answered in time: left to the sender's edge."
        case .undecided: "Held requests that still waited when their capture ended."
        case .tableFull, .tooLong, .foreignSource:
            "SYNs and pings not held, by reason; without a report if they do not arrive."
        case .resetsFromElsewhere:
            "Resets in the name of a pod of this node that has not sent them, as by a firewall."
        }
    }
}
