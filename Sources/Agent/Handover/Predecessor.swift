package import Time

/// The older agent's part in a handover: what it does, without clocks and sockets.
///
/// The agent forwards until the moment that the newer one has proposed, settles what waited then, and ends
/// its sessions. The process goes on, since a kubelet would start it again if it ended. If the newer agent
/// goes away, this one takes up its work again.
package struct Predecessor {
    package private(set) var phase = Phase.alone
    /// The hash of this agent's revision, 0 for none.
    private let revisionHash: UInt64
    /// When the agent stops, if it is to stop.
    private var stopsAt: MonotonicTime?

    /// What the agent does.
    package enum Phase: Equatable, Sendable {
        /// There is no other one.
        case alone
        /// Another one is there, and forwards nothing yet.
        case accompanied
        /// The other one takes over; this one ends its sessions at a time.
        case ceding(until: MonotonicTime, moment: UInt64)
        /// The other one forwards.
        case ceded
    }

    /// An agent without another one.
    ///
    /// - Parameter revisionHash: The hash of its revision, 0 for none.
    package init(revisionHash: UInt64 = 0) { self.revisionHash = revisionHash }

    /// Whether the agent is to stop, at once or later.
    package private(set) var isToStop = false

    /// Whether another one is there that does not forward yet.
    package var isAccompanied: Bool { phase != .alone && phase != .ceded }

    /// Takes a message.
    package mutating func receive(
        _ message: HandoverMessage, at now: HandoverMoment, servedCount: Int
    ) -> [HandoverAction] {
        switch (phase, message.kind) {
        case (.alone, .hello):
            phase = .accompanied
            return [.send(HandoverMessage(.welcome, UInt64(servedCount)))]
        case (.accompanied, .propose):
            guard let lead = Self.lead(to: message.value, at: now) else {
                return [.send(HandoverMessage(.refuse, message.value))]
            }
            let until = now.monotonic + lead + HandoverTimes.tail
            phase = .ceding(until: until, moment: message.value)
            if stopsAt != nil { stopsAt = until }
            return [
                .endForwarding(at: message.value), .send(HandoverMessage(.accept, message.value)),
            ]
        case (.ceding, .cancel):
            phase = .accompanied
            return [.endForwarding(at: .max)]
        case (.accompanied, .cancel): return []
        default: return [.disconnect]
        }
    }

    /// The time until a moment, if the handover can be at that moment.
    private static func lead(to wall: UInt64, at now: HandoverMoment) -> Duration? {
        guard wall > now.wall else { return nil }
        let lead = Duration.nanoseconds(Int64(clamping: wall - now.wall))
        return (HandoverTimes.acceptLeadMin...HandoverTimes.lead * 2).contains(lead) ? lead : nil
    }

    /// Does what is due.
    package mutating func attend(at now: MonotonicTime) -> [HandoverAction] {
        if case .ceding(let until, _) = phase, now >= until {
            phase = .ceded
            let stop: [HandoverAction] = stopsAt == nil ? [] : [.stop]
            return [.cede, .send(HandoverMessage(.ceded, revisionHash))] + stop
        }
        if let stopsAt, now >= stopsAt { return [.stop] }
        return []
    }

    /// When something is due; nil for never.
    package var dueAt: MonotonicTime? {
        if case .ceding(let until, _) = phase { return until }
        return stopsAt
    }

    /// Records that the agent is to stop.
    ///
    /// It waits for another agent that is about to take over.
    package mutating func requestStop(at now: MonotonicTime) -> [HandoverAction] {
        isToStop = true
        switch phase {
        case .alone, .ceded: return [.stop]
        case .accompanied:
            stopsAt = now + HandoverTimes.stopWait
            return []
        case .ceding(let until, _):
            stopsAt = until
            return []
        }
    }

    /// Records that the other agent has gone.
    ///
    /// What passed after the moment and before now is not forwarded: the other agent has forwarded it, but
    /// for the last blocks.
    package mutating func disconnect(at now: HandoverMoment) -> [HandoverAction] {
        defer { phase = .alone }
        let stop: [HandoverAction] = stopsAt == nil ? [] : [.stop]
        switch phase {
        case .alone, .accompanied: return stop
        case .ceding(_, let moment) where now.wall < moment:
            return [.endForwarding(at: .max)] + stop
        case .ceding:
            return [.beginForwarding(at: now.wall), .endForwarding(at: .max)] + stop
        case .ceded:
            return [.beginForwarding(at: now.wall), .endForwarding(at: .max), .resume] + stop
        }
    }
}
