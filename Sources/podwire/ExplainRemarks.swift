import Addressing
import Explain
import Observation

/// What the tables of `podwire explain` do not show.
extension PacketReport {
    /// The remarks about a packet, in sentences.
    static func remarks(
        _ packet: DescribedPacket, _ views: [Explainer.View], isLostUnseen: Bool
    ) -> [String] {
        var remarks: [String] = []
        if isLostUnseen { remarks.append("If it dies on its way, nobody reports it.") }
        let isUnseen = views.allSatisfy { !$0.decision.isReported && $0.requestPart == nil }
        if isUnseen, let end = views.compactMap(\.observedEnd).first {
            remarks.append(
                """
                No edge reports it: \(end) is no pod, and the other node does not know that. Name \
                it with --uncovered on every node.
                """)
        }
        return remarks
    }
}
