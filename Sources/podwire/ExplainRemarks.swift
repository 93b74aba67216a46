import Addressing
import Explain
import Observation

/// What the tables of `podwire explain` do not show.
extension PacketReport {
    /// The remarks about a packet, in sentences.
    static func remarks(
        _ packet: DescribedPacket, _ views: [Explainer.View], _ explainer: borrowing Explainer,
        isLostUnseen: Bool
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
        let reporting = views.filter(\.decision.isReported)
        if reporting.count > 1, Set(reporting.map(\.form.description)).count > 1 {
            remarks.append(
                """
                Each of \(reporting.count) edges reports it in the form that it sees: the client's \
                node does not know to which pod this node hands it.
                """)
        }
        guard views.contains(where: { $0.decision.step == .oneEndIsNoPod }) else { return remarks }
        for end in [packet.source.address, packet.destination.address] {
            if let remark = remark(onOutside: end, packet, views, explainer) {
                remarks.append(remark)
            }
        }
        return remarks
    }

    /// What is to be known of an end that is no pod.
    private static func remark(
        onOutside address: IPAddress, _ packet: DescribedPacket, _ views: [Explainer.View],
        _ explainer: borrowing Explainer
    ) -> String? {
        if explainer.isSentFrom(address) {
            guard views.count(where: \.decision.isReported) > 1 else { return nil }
            return """
                Both edges report it, because no route of this node names the network of \
                \(address). Add that network to --pod-network on every node.
                """
        }
        if explainer.mayBeNode(address), packet.source.port != nil {
            guard views.count == 1, views[0].isHere else { return nil }
            return """
                If \(address) is a node that hands it to a pod of its own and does not masquerade \
                it, that pod's edge reports it as well, in the pod's form.
                """
        }
        guard explainer.mayBeSentFrom(address) else { return nil }
        return """
            If a pod sends from \(address), as a VPN gateway does, that pod's edge reports it as \
            well. Only a running agent knows, and none answers here.
            """
    }
}
