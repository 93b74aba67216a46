package import Addressing
package import Packets
package import Time

/// Step 8, requests, in service form: where connection tracking knows the flow it is the pod form's.
extension SlowPath {
    /// The part of a packet of a call whose backend is known.
    ///
    /// - Parameters:
    ///   - flow: The call.
    ///   - opening: What the packet asks or answers.
    ///   - isReported: Whether this edge, the client's, reports the call.
    ///   - direction: The direction at this edge.
    /// - Returns: The part; nil if the packet has none.
    func requestPart(
        of flow: TrackedFlow, _ opening: Opening?, isReported: Bool, _ direction: Direction
    ) -> RequestPart? {
        let podForm = direction == .fromPod ? flow.reply.reversed : flow.reply
        // The client's edge reports the call if the client is the observed end.
        let isFromObservedEnd = isReported == (direction == .fromPod)
        var part = RequestPart(
            opening, of: podForm, isFromObservedEnd: isFromObservedEnd, direction: direction)
        if case .answer(var answer) = part {
            answer.unknownKey = opening.map { RequestKey(flow.original, sequence: $0.sequence) }
            part = .answer(answer)
        }
        return part
    }

    /// The part of an answer to a call whose backend was perhaps not known when the request came.
    ///
    /// The request has been held under the service's name, and has the fate of its answer.
    ///
    /// - Returns: The part; nil if the packet is no answer to the pod.
    func requestPart(
        ofAnswerTo call: FlowKey, _ opening: Opening?, _ direction: Direction
    ) -> RequestPart? {
        guard direction == .toPod, let opening, opening.isAnswer else { return nil }
        let key = RequestKey(call, sequence: opening.sequence)
        return .answer(
            RequestPart.Answer(key: key, edge: .sender, isReset: false, unknownKey: key))
    }

    /// The part of a packet of a call that connection tracking does not know.
    ///
    /// - Parameters:
    ///   - call: The call, from the client to the service.
    ///   - opening: What the packet asks or answers.
    ///   - decision: The decision about the packet, if it has no part in a request.
    ///   - direction: The direction at this edge.
    ///   - isSurelyUnknown: Whether connection tracking would know the call if it had left this node.
    /// - Returns: The part; nil if the packet has none.
    func requestPart(
        ofUnknown call: FlowKey, _ opening: Opening?, _ decision: Decision, _ direction: Direction,
        isSurelyUnknown: Bool
    ) -> RequestPart? {
        guard let opening else { return nil }
        let key = RequestKey(call, sequence: opening.sequence)
        switch direction {
        case .fromPod:
            // What is reported at once needs no answer.
            return opening.isRequest && !decision.isReported ? .request(key, at: .sender) : nil
        case .toPod:
            guard opening.isAnswer else { return nil }
            return .answer(
                RequestPart.Answer(
                    key: key, edge: .sender, isReset: opening == .reset, unknownKey: key,
                    isFromFirewall: opening == .reset && isSurelyUnknown))
        }
    }

    /// The change into the pod form of a request that was held before its backend was known.
    ///
    /// - Returns: nil if the backend is still unknown, or no pod's edge would have reported it.
    package func translation(ofUnknown call: FlowKey, now: MonotonicTime) -> Translation? {
        guard let flow = knownFlow(call, now: now), flow.isTranslated, !flow.isMasqueraded,
            rule.addressPlan.isPod(flow.reply.source)
        else { return nil }
        return Translation(flow)
    }
}
