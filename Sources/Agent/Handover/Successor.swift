package import Time

/// The newer agent's part in a handover: what it does, without clocks and sockets.
///
/// It captures like any agent, forwards nothing at first, and proposes a moment when its sensors have
/// begun to capture. From the proposal on it forwards what passes from that moment on, whatever it hears;
/// if it does not hear in time that the older agent stops there, it takes that back before the moment.
package struct Successor {
    package private(set) var phase: Phase

    /// What the agent waits for.
    package enum Phase: Equatable, Sendable {
        /// The older agent's first answer, until a time.
        case greeting(until: MonotonicTime)
        /// The sensors, since a time; not before another time.
        case waiting(since: MonotonicTime, notBefore: MonotonicTime)
        /// The answer to a proposal.
        case proposed(Proposal)
        /// The moment, and the time after it in which the older agent settles what waits.
        case overlapping(Proposal)
        /// The older agent's ports, until a time.
        case ceding(Proposal, until: MonotonicTime)
        case over(Outcome)
    }

    /// The moment from which on the newer agent forwards.
    package struct Proposal: Equatable, Sendable {
        package let wall: UInt64
        package let monotonic: MonotonicTime
        /// Since when the agent waits for its sensors.
        fileprivate let since: MonotonicTime
    }

    /// How it ends.
    package enum Outcome: Equatable, Sendable {
        /// The older agent had no time, or is not known to be there: ask again.
        case notHeard
        /// The older agent has refused too often; the agent forwards beside it.
        case refused(comparesUntil: MonotonicTime)
        /// The older agent is gone, or does not answer; time stamps are compared until then.
        case alone(comparesUntil: MonotonicTime)
        /// The agent forwards, and compares time stamps with the moment until then.
        case tookOver(comparesUntil: MonotonicTime)
    }

    /// The hash of the older agent's revision; 0 if it has none, or has not said it.
    package private(set) var olderRevisionHash: UInt64 = 0
    /// The sensors that the older agent feeds.
    private var servedCount = 0
    /// Whether this agent forwards until the other one answers.
    private let isForwarding: Bool
    /// The proposals that have been taken back.
    private var withdrawalCount = 0

    /// Begins, at a time, with a connection to an older agent.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - isForwarding: Whether this agent forwards already, and gives way to one that answers.
    package init(now: MonotonicTime, isForwarding: Bool = false) {
        phase = .greeting(until: now + HandoverTimes.greeting)
        self.isForwarding = isForwarding
    }

    /// What is done first.
    package var firstActions: [HandoverAction] {
        let wait: [HandoverAction] = isForwarding ? [] : [.beginForwarding(at: .max)]
        return wait + [.send(HandoverMessage(.hello))]
    }

    /// Takes a message.
    package mutating func receive(
        _ message: HandoverMessage, at now: HandoverMoment
    ) -> [HandoverAction] {
        switch (phase, message.kind) {
        case (.greeting, .welcome):
            servedCount = Int(clamping: message.value)
            phase = .waiting(since: now.monotonic, notBefore: now.monotonic)
            return isForwarding ? [.beginForwarding(at: .max)] : []
        case (.proposed(let proposal), .accept) where message.value == proposal.wall:
            guard now.monotonic + HandoverTimes.answerLeadMin <= proposal.monotonic else {
                return withdraw(proposal, now)
            }
            phase = .overlapping(proposal)
            return []
        case (.proposed(let proposal), .refuse): return withdraw(proposal, now)
        // What answers a proposal that has been taken back.
        case (.waiting, .accept), (.waiting, .refuse), (.proposed, .accept): return []
        case (.overlapping(let proposal), .ceded), (.ceding(let proposal, _), .ceded):
            olderRevisionHash = message.value
            return finish(proposal)
        default: return [.disconnect]
        }
    }

    /// Does what is due.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - servedCount: The sensors that capture.
    ///   - servedCountMax: The sensors that can capture at a time, by the settings.
    /// - Returns: What to do.
    package mutating func attend(
        at now: HandoverMoment, servedCount: Int, servedCountMax: Int
    ) -> [HandoverAction] {
        switch phase {
        case .greeting(let until) where now.monotonic >= until && isForwarding:
            phase = .over(.notHeard)
            return []
        case .greeting(let until) where now.monotonic >= until:
            phase = .over(.alone(comparesUntil: now.monotonic))
            return [.beginForwarding(at: 0)]
        case .waiting(let since, let notBefore) where now.monotonic >= notBefore:
            let hasPatience = now.monotonic - since < HandoverTimes.patience
            // The older agent may feed none for a moment, and captures all the same.
            let goal = max(1, min(self.servedCount, servedCountMax, hasPatience ? .max : 1))
            guard servedCount >= goal else { return [] }
            return propose(since: since, now)
        case .proposed(let proposal)
        where now.monotonic + HandoverTimes.answerLeadMin > proposal.monotonic:
            return withdraw(proposal, now)
        case .overlapping(let proposal)
        where now.monotonic >= proposal.monotonic + HandoverTimes.tail:
            phase = .ceding(proposal, until: now.monotonic + HandoverTimes.ceding)
            return []
        case .ceding(let proposal, let until) where now.monotonic >= until:
            return finish(proposal)
        default: return []
        }
    }

    /// Records that the older agent has closed the connection.
    ///
    /// What passed before is not forwarded again: the older agent has forwarded it, but for the last blocks.
    package mutating func disconnect(at now: HandoverMoment) -> [HandoverAction] {
        switch phase {
        case .greeting:
            // It may serve another one, or be about to end: then nobody will be there the next time.
            phase = .over(.notHeard)
            return []
        case .over: return []
        case .ceding(let proposal, _): return finish(proposal)
        case .overlapping(let proposal) where now.wall >= proposal.wall: return finish(proposal)
        case .waiting, .proposed, .overlapping:
            phase = .over(.alone(comparesUntil: now.monotonic + HandoverTimes.comparison))
            return [.beginForwarding(at: now.wall)]
        }
    }

    private mutating func propose(
        since: MonotonicTime, _ now: HandoverMoment
    ) -> [HandoverAction] {
        let wall = now.wall + UInt64(HandoverTimes.lead.clampedNanoseconds)
        phase = .proposed(
            Proposal(wall: wall, monotonic: now.monotonic + HandoverTimes.lead, since: since))
        return [.beginForwarding(at: wall), .send(HandoverMessage(.propose, wall))]
    }

    private mutating func withdraw(
        _ proposal: Proposal, _ now: HandoverMoment
    ) -> [HandoverAction] {
        withdrawalCount += 1
        guard withdrawalCount < HandoverTimes.withdrawalCountMax else {
            phase = .over(.refused(comparesUntil: now.monotonic + HandoverTimes.comparison))
            return [.beginForwarding(at: now.wall), .send(HandoverMessage(.cancel))]
        }
        phase = .waiting(since: proposal.since, notBefore: now.monotonic + HandoverTimes.retry)
        return [.beginForwarding(at: .max), .send(HandoverMessage(.cancel))]
    }

    private mutating func finish(_ proposal: Proposal) -> [HandoverAction] {
        phase = .over(
            .tookOver(comparesUntil: proposal.monotonic + HandoverTimes.comparison))
        return []
    }
}
