import Observation

/// Where a packet is reported, in one sentence.
package struct Verdict: CustomStringConvertible {
    private let views: [Explainer.View]
    /// Whether an end is a service's, which pods see under their own addresses.
    private let isOfService: Bool

    /// The verdict on a packet that an explainer has explained.
    ///
    /// - Parameters:
    ///   - packet: The packet.
    ///   - views: What passes at each edge.
    ///   - explainer: The explainer.
    package init(
        _ packet: DescribedPacket, _ views: [Explainer.View], _ explainer: borrowing Explainer
    ) {
        self.views = views
        isOfService = [packet.source, packet.destination].contains { end in
            explainer.rule.addressPlan.isService(end.address)
        }
    }

    package var description: String {
        guard !views.isEmpty else {
            return isOfService
                ? """
                No pod's edge sees it in this form: the pod that serves the call has its own address, \
                so explain that.
                """ : "No pod's edge sees it."
        }
        if let unknown = views.first(where: { $0.decision.step == .unexplainedService }) {
            return unknown.isHere
                ? """
                Unknown: it is of a call to a service that is not going on now, and which pod serves it \
                decides.
                """
                : "Unknown here: the node of \(Self.pod(unknown)) knows which pod serves the call."
        }
        if let sender = views.first(where: { $0.isHeld(at: .sender) }) {
            let receiver = views.first { $0.isHeld(at: .observedEnd) }.map(Self.edge)
            guard let receiver else {
                return "Reported by \(Self.edge(sender)) if it is not answered."
            }
            return "If it is answered, reported by \(receiver); if not, by \(Self.edge(sender))."
        }
        if let copy = views.first(where: { $0.decision == .report(.groupFromElsewhere) }) {
            return
                "Reported once, by \(Self.edge(copy)), unless a pod sent it: then by that pod's edge."
        }
        let reporting = views.filter(\.decision.isReported).map(Self.edge)
        let silent = views.filter { !$0.decision.isReported }.map(Self.edge)
        guard !reporting.isEmpty else { return "Reported by no edge." }
        let others = silent.isEmpty ? "" : "; not by \(Self.list(silent, "or"))"
        return "Reported by \(Self.list(reporting, "and"))\(others)."
    }

    /// The most edges that are named, since a packet to a group passes at all.
    private static let nameCountMax = 3

    private static func list(_ edges: [String], _ word: String) -> String {
        guard edges.count <= nameCountMax else {
            return "\(edges[0]), \(edges[1]) \(word) \(edges.count - 2) more"
        }
        guard edges.count > 1 else { return edges[0] }
        return "\(edges.dropLast().joined(separator: ", ")) \(word) \(edges[edges.count - 1])"
    }

    /// An edge as part of a sentence: `"10.244.2.3's edge, on its node"`.
    private static func edge(_ view: Explainer.View) -> String {
        guard !view.isHere, let rest = rest(view) else { return view.edge }
        return "\(pod(view))'s edge\(rest)"
    }

    /// The pod whose edge is not on this node.
    private static func pod(_ view: Explainer.View) -> String {
        let end = view.direction == .toPod ? view.form.destination : view.form.source
        return "\(end.address)"
    }

    /// What is known of an edge elsewhere, behind the pod's address.
    private static func rest(_ view: Explainer.View) -> Substring? {
        let head = "of \(pod(view))"
        return view.edge.hasPrefix(head) ? view.edge.dropFirst(head.count) : nil
    }
}
