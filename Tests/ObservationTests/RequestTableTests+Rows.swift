import Observation

/// The situations, and what becomes of each packet in them; the times are milliseconds.
extension RequestTableTests {
    /// The sender's edge; the other edge is on another node.
    static let senders: [Row] = [
        Row(
            "answered in time",
            [.request(.sender, at: 0, read: 5), .answer(.sender, at: 500, read: 510)],
            [.held, .fate(.answeredThere)]),
        Row(
            "answered late",
            [.request(.sender, at: 0, read: 5), .answer(.sender, at: 501, read: 510)],
            [.held, .fate(.unanswered)]),
        Row(
            "never answered",
            [.request(.sender, at: 0, read: 5), .wait(until: 604), .wait(until: 605)],
            [.held, .fate(.unanswered)]),
        Row(
            "answered when nobody waits any more",
            [
                .request(.sender, at: 0, read: 5), .wait(until: 605),
                .answer(.sender, at: 606, read: 610),
            ], [.held, .fate(.unanswered)]),
        Row(
            "reset by the other end, or in its name",
            [.request(.sender, at: 0, read: 5), .answer(.sender, isReset: true, at: 1, read: 6)],
            [.held, .fate(.answeredThere)]),
        Row(
            "the clock is set back before the answer",
            [.request(.sender, at: 9000, read: 5), .answer(.sender, at: 1, read: 6)],
            [.held, .fate(.answeredThere)]),
        Row(
            "the clock is set forward before the answer: reported rather than lost",
            [.request(.sender, at: 0, read: 5), .answer(.sender, at: 9000, read: 6)],
            [.held, .fate(.unanswered)]),
        Row(
            "an answer at the other edge is none here",
            [
                .request(.sender, at: 0, read: 5), .answer(.observedEnd, at: 1, read: 6),
                .wait(until: 605),
            ], [.held, .fate(.unanswered)]),
        Row(
            "sent again, and one answer for both",
            [
                .request(.sender, at: 0, read: 5), .request(.sender, at: 100, read: 105),
                .answer(.sender, at: 200, read: 205),
            ], [.held, .held, .fate(.answeredThere), .fate(.answeredThere)]),
        Row(
            "sent again after a second, and only the second is answered",
            [
                .request(.sender, at: 0, read: 5), .wait(until: 1000),
                .request(.sender, at: 1000, read: 1005), .answer(.sender, at: 1001, read: 1010),
            ], [.held, .fate(.unanswered), .held, .fate(.answeredThere)]),
        Row(
            "sent again, and the answer is too late for the first",
            [
                .request(.sender, at: 0, read: 5), .request(.sender, at: 400, read: 405),
                .answer(.sender, at: 550, read: 555),
            ], [.held, .held, .fate(.unanswered), .fate(.answeredThere)]),
    ]

    /// The observed end's edge; the other edge is on another node.
    static let observedEnds: [Row] = [
        Row(
            "answered in time",
            [.request(.observedEnd, at: 0, read: 5), .answer(.observedEnd, at: 500, read: 510)],
            [.held, .fate(.answeredHere)]),
        Row(
            "answered late",
            [.request(.observedEnd, at: 0, read: 5), .answer(.observedEnd, at: 520, read: 525)],
            [.held, .fate(.leftToSender)]),
        Row(
            "answered late, and the request was read late",
            [.request(.observedEnd, at: 0, read: 90), .answer(.observedEnd, at: 501, read: 505)],
            [.held, .fate(.leftToSender)]),
        Row(
            "answered after the time of holding, and the request was read late",
            [.request(.observedEnd, at: 0, read: 300), .answer(.observedEnd, at: 600, read: 605)],
            [.held, .fate(.leftToSender)]),
        Row(
            "never answered", [.request(.observedEnd, at: 0, read: 5), .wait(until: 605)],
            [.held, .fate(.leftToSender)]),
        Row(
            "reset",
            [
                .request(.observedEnd, at: 0, read: 5),
                .answer(.observedEnd, isReset: true, at: 1, read: 6),
            ], [.held, .fate(.answeredHere)]),
        Row(
            "the clock is set back before the answer",
            [.request(.observedEnd, at: 9000, read: 5), .answer(.observedEnd, at: 1, read: 6)],
            [.held, .fate(.answeredHere)]),
        Row(
            "the clock is set forward before the answer: reported rather than lost",
            [.request(.observedEnd, at: 0, read: 5), .answer(.observedEnd, at: 9000, read: 6)],
            [.held, .fate(.answeredHere)]),
        Row(
            "sent again, and one answer for both",
            [
                .request(.observedEnd, at: 0, read: 5), .request(.observedEnd, at: 100, read: 105),
                .answer(.observedEnd, at: 200, read: 205),
            ], [.held, .held, .fate(.answeredHere), .fate(.answeredHere)]),
    ]

    /// Both edges belong to the capture; the rings may be read in either order.
    static let bothHere: [Row] = [
        Row(
            "answered, the sender's ring first",
            [
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 5),
                .answer(.sender, at: 3, read: 5),
                .request(.observedEnd, at: 1, read: 6),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 2, read: 6),
            ], [.held, .held, .fate(.answeredThere), .fate(.answeredHere)]),
        Row(
            "answered, the observed end's ring first",
            [
                .request(.observedEnd, at: 1, read: 5),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 2, read: 5),
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 6),
                .answer(.sender, at: 3, read: 6),
            ], [.held, .fate(.answeredHere), .answered]),
        Row(
            "answered late, the observed end's ring first",
            [
                .request(.observedEnd, at: 1, read: 5),
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 6), .wait(until: 610),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 700, read: 705),
                .answer(.sender, at: 701, read: 706),
            ], [.held, .held, .fate(.leftToSender), .fate(.unanswered)]),
        Row(
            "answered before it was sent again, and the second died on its way",
            [
                .request(.observedEnd, at: 1, read: 5),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 2, read: 5),
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 6),
                .request(.sender, isOtherEdgeHere: true, at: 4, read: 6), .wait(until: 606),
            ], [.held, .fate(.answeredHere), .answered, .held, .fate(.unanswered)]),
        Row(
            "the same, the sender's ring first",
            [
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 5),
                .request(.sender, isOtherEdgeHere: true, at: 4, read: 5),
                .request(.observedEnd, at: 1, read: 6),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 2, read: 6), .wait(until: 605),
            ],
            [
                .held, .held, .held, .fate(.answeredThere), .fate(.answeredHere),
                .fate(.unanswered),
            ]),
        Row(
            "a reset that only the sender's edge saw",
            [
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 5),
                .answer(.sender, isReset: true, at: 1, read: 5), .reset(at: 1, read: 5),
                .wait(until: 605),
            ], [.held, .held, .fate(.unanswered), .fate(.resetFromElsewhere)]),
        Row(
            "a reset of the pod's, the sender's ring first",
            [
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 5), .reset(at: 3, read: 5),
                .request(.observedEnd, at: 1, read: 6),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 2, read: 6),
            ],
            [
                .held, .held, .held, .fate(.answeredThere), .fate(.resetSeenThere),
                .fate(.answeredHere),
            ]),
        Row(
            "a reset of the pod's, the observed end's ring first",
            [
                .request(.observedEnd, at: 1, read: 5),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 2, read: 5),
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 6), .reset(at: 3, read: 6),
            ], [.held, .fate(.answeredHere), .answered, .answered]),
        Row(
            "three resets at once, the sender's ring first",
            [
                .reset(at: 11, read: 20), .reset(at: 13, read: 20), .reset(at: 15, read: 20),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 10, read: 21),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 12, read: 21),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 14, read: 21),
            ],
            [
                .held, .held, .held, .fate(.resetSeenThere), .fate(.resetSeenThere),
                .fate(.resetSeenThere),
            ]),
        Row(
            "three resets at once, the observed end's ring first",
            [
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 10, read: 20),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 12, read: 20),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 14, read: 20),
                .reset(at: 11, read: 21), .reset(at: 13, read: 21), .reset(at: 15, read: 21),
            ], [.answered, .answered, .answered]),
        Row(
            "accepted by the pod and then reset by a firewall, the observed end's ring first",
            [
                .request(.observedEnd, at: 1, read: 5),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 2, read: 5),
                .request(.sender, isOtherEdgeHere: true, at: 0, read: 6),
                .answer(.sender, at: 3, read: 6),
                .reset(at: 4, read: 6), .wait(until: 606),
            ], [.held, .fate(.answeredHere), .answered, .held, .fate(.resetFromElsewhere)]),
        Row(
            "accepted by the pod and then reset by a firewall, the sender's ring first",
            [
                .reset(at: 4, read: 5), .request(.observedEnd, at: 1, read: 6),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 2, read: 6), .wait(until: 605),
            ], [.held, .held, .fate(.answeredHere), .fate(.resetFromElsewhere)]),
        Row(
            "a reset long after the pod's own",
            [
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 0, read: 5),
                .reset(at: 501, read: 505), .wait(until: 1105),
            ], [.held, .fate(.resetFromElsewhere)]),
        Row(
            "a reset before the pod's own",
            [
                .reset(at: 1, read: 5),
                .answer(.observedEnd, isReset: true, isOtherEdgeHere: true, at: 9, read: 10),
                .wait(until: 605),
            ], [.held, .fate(.resetFromElsewhere)]),
        Row(
            "the clock is set back before the answer: reported rather than lost",
            [
                .request(.sender, isOtherEdgeHere: true, at: 9000, read: 5),
                .request(.observedEnd, at: 9001, read: 6),
                .answer(.observedEnd, isOtherEdgeHere: true, at: 1, read: 7), .wait(until: 605),
            ], [.held, .held, .fate(.answeredHere), .fate(.unanswered)]),
    ]
}
