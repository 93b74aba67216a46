/// What the table tells its caller.
extension RequestTable {
    /// What has become of a packet that was to be held.
    package enum Holding: Equatable, Sendable {
        /// It waits in this slot.
        case held(slot: Int)
        /// The other edge has seen the answer already, so that edge reports.
        case answered
        /// There is no room.
        case full
    }

    /// The sender of an answer that comes from the pod at an edge.
    package enum Answerer: Sendable, CaseIterable {
        /// The observed end itself, as far as is known.
        case observedEnd
        /// A pod that passes packets on, and has got the request at the same edge.
        case forwarder
        /// Another pod that has not got the request.
        case stranger
    }

    /// What becomes of a packet that has waited.
    package struct Release: Equatable, Sendable {
        /// Where it waited; the slot is free again.
        package let slot: Int
        package let fate: Fate
        /// Whether a pod that passes on what others send has sent the packet.
        package var isPassedOn = false

        package enum Fate: Equatable, Sendable, CaseIterable {
            /// The request was answered: the observed end's edge reports it, now.
            case answeredHere
            /// The request was answered: the observed end's edge reports it, not this one.
            case answeredThere
            /// The request was not answered in time: the sender's edge reports it.
            case unanswered
            /// The request was not answered in time: it is left to the sender's edge.
            case leftToSender
            /// The other edge never saw this reset: the sender's edge reports it.
            case resetFromElsewhere
            /// The other edge reports this reset.
            case resetSeenThere

            /// Whether the packet is reported.
            package var isReported: Bool {
                switch self {
                case .answeredHere, .unanswered, .resetFromElsewhere: true
                case .answeredThere, .leftToSender, .resetSeenThere: false
                }
            }
        }
    }
}
