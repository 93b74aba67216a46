import Addressing
import BPF

/// Step 1, own feed: traffic between a sensor and what is not a pod is dropped.
///
/// Packets between two pods never are, so this comes only when the ends are known (`Step5Ends`).
extension EdgeProgramWriter {
    /// The code for packets of which not both ends are pods.
    struct FeedLabels {
        let onlySourceIsPod: Label
        let onlyDestinationIsPod: Label
        let noPod: Label
    }

    mutating func makeFeedLabels() -> FeedLabels {
        let noPod = code.makeLabel()
        // Where pods and nodes cannot be told apart, all packets go one way.
        return rule.puntsAddresses
            ? FeedLabels(onlySourceIsPod: noPod, onlyDestinationIsPod: noPod, noPod: noPod)
            : FeedLabels(
                onlySourceIsPod: code.makeLabel(), onlyDestinationIsPod: code.makeLabel(),
                noPod: noPod)
    }

    /// Drops the feed, and keeps all other packets: step 5, one end is not a pod.
    mutating func writeOwnFeed(_ layout: PacketLayout, _ labels: FeedLabels) {
        let sensors = Array(rule.addressPlan.sensors).of(layout.family)
        let other = rule.puntsPodAddresses ? punt : code.makeLabel()
        // Where pods and nodes cannot be told apart, the feed is not told from other traffic.
        let feed = rule.puntsAddresses ? punt : drop
        let testsSource = rule.puntsAddresses ? code.makeLabel() : labels.onlySourceIsPod

        code.place(labels.noPod)
        code.test(
            layout.destination, isOneOf: sensors, then: feed, else: testsSource,
            "destination a sensor?")
        if !rule.puntsAddresses {
            code.place(labels.onlyDestinationIsPod)
            code.test(
                layout.destination, isOneOf: sensors, then: feed, else: other,
                "destination a sensor?")
        }
        code.place(testsSource)
        code.test(layout.source, isOneOf: sensors, then: feed, else: other, "source a sensor?")
        guard !rule.puntsPodAddresses else { return }
        code.place(other)
        writeKeep(at: point)
    }
}
