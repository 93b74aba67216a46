import Addressing
package import Observation

/// The comparison of what the forms of the rule say about one frame.
extension EdgeProgram.Verdict {
    /// Compares what the program says with what the slow path says, which knows all that it knows.
    package func fault(against outcome: SlowPath.Outcome?, isCleared: Bool) -> String? {
        guard self != .punt else { return isCleared ? "punted and cleared" : nil }
        guard let outcome else { return "\(self), though more is needed" }
        let isSame =
            outcome.requestPart == nil && outcome.translation == nil
            && outcome.decision.isReported == (self == .keep)
        return isSame ? nil : "\(self) against \(outcome)"
    }

    /// Compares what the fast path says about a request, if anything, with what the slow path says.
    ///
    /// Frames that the program drops do not get that far.
    package func fault(
        against outcome: SlowPath.Outcome?, _ opening: FastPath.Opening?
    ) -> String? {
        guard let opening, self != .drop else { return nil }
        guard let outcome else { return "an opening of a frame that needs more" }
        if opening.kind == .kept {
            return self == .keep && outcome.decision.isReported
                ? nil : "taken for kept against \(outcome)"
        }
        let isSame =
            self == .punt && opening.isReported == outcome.decision.isReported
            && opening.isSame(as: outcome.requestPart) && outcome.translation == nil
        return isSame ? nil : "\(opening) against \(outcome)"
    }
}

extension FastPath {
    /// Returns what the fast path makes of an opening, as the pipeline asks it.
    package func opening(
        _ frame: [UInt8], _ direction: Direction, at point: ObservationPoint
    ) -> Opening? {
        let macs = EdgeMACs(point)
        guard direction == .fromPod || !macs.areCompared || clearsMACs(of: frame.wire, at: macs)
        else { return nil }
        return opening(frame.wire, direction: direction)
    }
}

extension FastPath.Opening {
    /// Whether a request's part, as the slow path finds it, is the same.
    package func isSame(as part: RequestPart?) -> Bool {
        switch part {
        case nil: kind == .neither
        case .request(let key, let edge): kind == .request && self.key == key && self.edge == edge
        case .answer(let answer):
            kind == (answer.isReset ? .reset : .answer) && key == answer.key
                && edge == answer.edge && answer.unknownKey == nil && !answer.isFromFirewall
        }
    }
}
