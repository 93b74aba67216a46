package import Observation
package import Time

/// What asks for an answer.
package enum RequestKind: Hashable, Sendable {
    /// A TCP segment with SYN and without ACK.
    case connection
    /// An ICMP or ICMPv6 echo request.
    case ping
}

/// What becomes of a request, with an answer and without one.
package struct RequestOutlook: Equatable, Sendable {
    /// What asks for an answer.
    package let kind: RequestKind
    /// When the request is reported.
    package let time: Time
    /// The report if an answer comes in time.
    ///
    /// Nil if only the backend of a call knows it, or if no edge reports it.
    package let answered: Report?
    /// The report if no answer comes in time.
    package let unanswered: Report

    /// When a request is reported.
    package enum Time: Equatable, Sendable {
        /// At once, whether an answer comes or not.
        case atOnce
        /// With its answer, or when it has waited long enough.
        case held
        /// The same, if a pod serves the call and its port is the lower one; else at once.
        case heldIfPodServes
    }

    /// Where a request is reported, and how it looks to the sensor.
    package struct Report: Equatable, Sendable {
        /// The edge's name, or whose edge it is.
        package let edge: String
        /// The packet as it is reported.
        package let form: DescribedPacket
    }
}

/// Step 8, requests.
extension Explainer {
    /// What becomes of a SYN or a ping with the ends of a packet.
    ///
    /// - Returns: nil if the protocol has no requests, or nobody reports this one.
    package mutating func outlook(
        of packet: DescribedPacket, now: MonotonicTime
    ) -> RequestOutlook? {
        guard let kind = packet.requestKind, !isToGroup(packet) else { return nil }
        let views = explain(packet, isRequest: true, now: now)
        guard let sender = views.first(where: { $0.isHeld(at: .sender) }) else {
            guard let reporter = views.first(where: \.decision.isReported) else { return nil }
            let report = RequestOutlook.Report(reporter)
            guard reporter.decision.step == .unexplainedService else {
                return RequestOutlook(
                    kind: kind, time: .atOnce, answered: report, unanswered: report)
            }
            return RequestOutlook(
                kind: kind, time: .heldIfPodServes, answered: nil, unanswered: report)
        }
        let receiver = views.first { $0.isHeld(at: .observedEnd) }
        // A packet between two pods that lacks its other edge goes to a node's address, which the
        // sender's node takes for a pod's. Nobody is there to report it.
        let isCall = receiver == nil && sender.decision.step != .observedEnd
        return RequestOutlook(
            kind: kind, time: isCall ? .heldIfPodServes : .held,
            answered: receiver.map { RequestOutlook.Report($0) },
            unanswered: RequestOutlook.Report(sender))
    }
}

extension RequestOutlook.Report {
    fileprivate init(_ view: Explainer.View) {
        self.init(edge: view.edge, form: view.reportedForm)
    }
}

extension Explainer.View {
    /// Whether the packet is a request that is held at one of its two edges.
    package func isHeld(at edge: RequestEdge) -> Bool {
        if case .request(_, at: edge) = requestPart { return true }
        return false
    }
}
