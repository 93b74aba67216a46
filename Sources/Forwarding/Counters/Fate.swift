/// What became of a frame that a ring's program let through.
///
/// Every frame has one fate, and only one.
package enum Fate: Int, CaseIterable, Sendable {
    /// Put into the send queue.
    case forwarded
    /// Decided in user space, where the rule gave the frame to another edge.
    case refused
    /// Refused by the client's filter, in user space.
    case filtered
    /// Left out by the client's sampling.
    case sampledOut
    /// Part of a flow that does not belong to the agent's sample.
    case flowSampledOut
    /// The payload of a flow that has had its part.
    case cutOff
    /// Left to another agent of the node, from which this one takes over, or which takes over from it.
    case otherAgent
    /// Left out by the rate limit.
    case limited
    /// Lost because every block of the ring was waiting to be read.
    case droppedByRing
    /// Lost because a block of the ring was too small, and cut the frame.
    case droppedByBlock
    /// Lost because the send queue had no room.
    case droppedByQueue
    /// Still in a ring, or held for an answer or a first fragment, when the capture ended, or when a
    /// pod was gone while the queue was full.
    case abandoned

    /// Whether frames have this fate for all sessions of a capture alike.
    ///
    /// The other fates depend on what a session wants, and on its queue.
    var isShared: Bool {
        switch self {
        case .refused, .flowSampledOut, .cutOff, .otherAgent, .droppedByRing, .abandoned: true
        case .forwarded, .filtered, .sampledOut, .limited, .droppedByBlock, .droppedByQueue: false
        }
    }

    /// The name in the log and as the metrics' label `fate`.
    package var name: String {
        switch self {
        case .forwarded: "forwarded"
        case .refused: "refused"
        case .filtered: "filtered"
        case .sampledOut: "sampled_out"
        case .flowSampledOut: "flow_sampled_out"
        case .cutOff: "cut_off"
        case .otherAgent: "other_agent"
        case .limited: "limited"
        case .droppedByRing: "dropped_by_ring"
        case .droppedByBlock: "dropped_by_block"
        case .droppedByQueue: "dropped_by_queue"
        case .abandoned: "abandoned"
        }
    }
}
