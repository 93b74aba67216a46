import Linux
package import Time

/// The choice of the one sensor that a node feeds (`--sensor-policy one`).
///
/// The node feeds the sensor that it prefers. If that one goes it feeds the next one, and comes back when
/// the preferred one has been there again for a minute. On the way back both are fed for a moment, so
/// that nothing is lost. Sensors are known by their ranks: 0 is the one that the node prefers.
package struct SensorElection {
    private let count: Int
    /// The time for which a sensor has to be there before the node comes back, with the node's jitter.
    private let returnTimeMin: Duration
    /// The sensor that is fed, and gets packets; nil if none does.
    package private(set) var fed: Int?
    /// The sensors that are tried while none is fed, in the order in which their trials began.
    private var trials: [Trial] = []
    /// A better one that is tried while another is fed.
    private var challenge: Trial?
    private var states: [State]
    /// Since when a sensor is fed.
    private var fedSince = MonotonicTime.zero
    /// The trials that failed since none is fed.
    private var failedTrialCount = 0
    /// How long all rest after a round in which each sensor has failed.
    private var backoff = Backoff()
    private var restEnd = MonotonicTime.zero

    /// What is known of a sensor.
    private struct State {
        /// When it failed last since none is fed; zero for never.
        var failedAt = MonotonicTime.zero
        /// Since when each probe has reached it.
        var presentSince: MonotonicTime?
        /// How long it has to be there before the node comes back.
        var returnTime: Duration
    }

    /// A sensor that is dialled, and has to open a capture.
    private struct Trial {
        let rank: Int
        let begin: MonotonicTime
        /// The connections that had failed before.
        let failureCount: UInt64

        /// Whether the sensor has not been reached, or has opened no capture in time, or takes nothing.
        func hasFailed(_ sight: Sight, _ now: MonotonicTime) -> Bool {
            sight.isStalled || sight.failureCount != failureCount
                || now - begin >= SensorElection.captureTimeMax
        }
    }

    /// What is seen of a sensor at a moment.
    package struct Sight: Sendable {
        /// Whether it has a capture, and takes packets.
        package var isFed = false
        /// Whether it has a capture and takes nothing.
        package var isStalled = false
        /// The number of connections to it that failed, ever.
        package var failureCount: UInt64 = 0
        /// Whether the last probe has reached it.
        package var isPresent = false

        package init() {}
    }

    /// What is to be done with a sensor.
    package enum Order: Sendable {
        /// Nothing.
        case rest
        /// Look whether it is there.
        case probe
        /// Connect, and let it capture.
        case serve
    }

    /// The time that a sensor has to open a capture; one that does not counts as gone.
    package static let captureTimeMax = Duration.seconds(60)
    /// The time after which another sensor is tried, too, while one that was dialled opens no capture.
    private static let trialInterval = Duration.seconds(5)
    /// The time for which a sensor has to be there before a node comes back.
    package static let returnTime = Duration.seconds(60)
    /// The longest such time, for one that is there and of no use.
    package static let returnTimeMax = Duration.seconds(32 * 60)
    /// A capture that is over after a shorter time was of no use.
    private static let briefTime = Duration.seconds(10)

    /// Creates an election in which no sensor has been tried.
    ///
    /// - Parameters:
    ///   - count: The number of sensors, at least one.
    ///   - jitter: A part of a quarter of the return time, from 0 to 1: nodes that take different parts
    ///     do not come back all at once.
    package init(count: Int, jitter: Double) {
        precondition(count > 0)
        self.count = count
        returnTimeMin = Self.returnTime + Self.returnTime * (jitter / 4)
        states = [State](repeating: State(returnTime: returnTimeMin), count: count)
    }

    /// Decides what is to be done with each sensor.
    ///
    /// - Parameters:
    ///   - sights: What is seen of each sensor, by rank.
    ///   - now: The time.
    /// - Returns: The orders, by rank.
    package mutating func decide(_ sights: [Sight], now: MonotonicTime) -> [Order] {
        precondition(sights.count == count)
        note(sights, now)
        if let best = sights.firstIndex(where: \.isFed) {
            return feed(best, sights, now)
        }
        return search(sights, now)
    }

    /// Whether a sensor is missed while it is not fed: all of them while none is fed, and then those that the
    /// node prefers to the one that is.
    package func isWanted(_ rank: Int) -> Bool { fed.map { rank <= $0 } ?? true }

    /// Takes over which sensors are there.
    private mutating func note(_ sights: [Sight], _ now: MonotonicTime) {
        for rank in 0..<count {
            if !sights[rank].isPresent {
                states[rank].presentSince = nil
            } else if states[rank].presentSince == nil {
                states[rank].presentSince = now
            }
        }
    }

    /// Goes on with a sensor that is fed, and tries a better one that has come back.
    private mutating func feed(
        _ best: Int, _ sights: [Sight], _ now: MonotonicTime
    ) -> [Order] {
        if fed != best {
            (fed, fedSince) = (best, now)
            (trials, challenge) = ([], nil)
            backoff.reset()
        }
        if let tried = challenge, tried.hasFailed(sights[tried.rank], now) {
            postponeReturn(to: tried.rank)
            challenge = nil
        }
        if challenge == nil {
            challenge = returned(before: best, now).map { trial(of: $0, sights, now) }
        }
        return (0..<count).map { rank in
            rank == best || rank == challenge?.rank ? .serve : rank < best ? .probe : .rest
        }
    }

    /// A sensor that is better than the one that is fed, and has been there for long enough.
    private func returned(before best: Int, _ now: MonotonicTime) -> Int? {
        (0..<best).first { rank in
            states[rank].presentSince.map { now - $0 >= states[rank].returnTime } ?? false
        }
    }

    /// Waits longer for a sensor that was there, and was of no use.
    private mutating func postponeReturn(to rank: Int) {
        states[rank].returnTime = min(states[rank].returnTime * 2, Self.returnTimeMax)
        states[rank].presentSince = nil
    }

    /// Looks for a sensor while none is fed.
    private mutating func search(_ sights: [Sight], _ now: MonotonicTime) -> [Order] {
        if let lost = fed { beginSearch(from: lost, sights, now) }
        for tried in trials where tried.hasFailed(sights[tried.rank], now) {
            states[tried.rank].failedAt = now
            failedTrialCount += 1
            if failedTrialCount.isMultiple(of: count) { restEnd = now + backoff.next() }
        }
        trials.removeAll { $0.hasFailed(sights[$0.rank], now) }
        if now >= restEnd, trials.last.map({ now - $0.begin >= Self.trialInterval }) ?? true,
            let next = nextRank
        {
            trials.append(trial(of: next, sights, now))
        }
        return (0..<count).map { rank in
            trials.contains { $0.rank == rank } ? .serve : .rest
        }
    }

    /// The sensor to try: the one that failed longest ago, or never; of several the best.
    private var nextRank: Int? {
        states.indices.filter { rank in !trials.contains { $0.rank == rank } }
            .min { states[$0].failedAt < states[$1].failedAt }
    }

    private mutating func beginSearch(from lost: Int, _ sights: [Sight], _ now: MonotonicTime) {
        if now - fedSince < Self.briefTime {
            postponeReturn(to: lost)
        } else {
            states[lost].returnTime = returnTimeMin
        }
        for rank in 0..<count { states[rank].failedAt = .zero }
        (fed, challenge, failedTrialCount) = (nil, nil, 0)
        // Its connection may have broken, and it be there.
        trials = [trial(of: lost, sights, now)]
    }

    private func trial(of rank: Int, _ sights: [Sight], _ now: MonotonicTime) -> Trial {
        Trial(rank: rank, begin: now, failureCount: sights[rank].failureCount)
    }
}
