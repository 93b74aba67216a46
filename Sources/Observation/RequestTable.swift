import Addressing
package import Time

/// The requests that wait for an answer at the edges of one capture, in the order in which they came.
///
/// The table is bounded, and no operation takes longer because there are many requests. Each has a
/// slot, under which the caller keeps what belongs to it. Where both edges of a request belong to the
/// capture, the sender's edge goes by the answers that the observed end's edge has seen: an answer that
/// only the sender's edge saw is a firewall's.
package struct RequestTable: Sendable {
    private var entries: [Entry] = []
    /// The first entry of each bucket; empty until the first request comes.
    private var buckets: [Int32] = []
    /// The packets that wait, and the answers that are kept, each from the oldest to the youngest.
    private var order = List()
    private var answerOrder = List()
    /// The first of the free slots, which are chained by `nextInOrder`.
    private var firstFree = Self.none
    /// The number of packets that wait.
    package private(set) var count = 0
    /// The number of answers that are kept for requests whose edge is read later.
    private var answerCount = 0
    private let secret = (
        UInt64.random(in: .min ... .max) | 1, UInt64.random(in: .min ... .max) | 1
    )

    /// The most packets that wait, and answers that are kept.
    ///
    /// 50,000 requests a second, a scanner's full speed, for the time of holding.
    package static let countMax = 32_768
    /// The most answers that are kept, so that there is room for requests.
    private static let answerCountMax = 16_384
    private static let bucketCount = 16_384
    /// The most entries of one bucket that an answer is compared with.
    ///
    /// Only requests of one flow can be more; the caller asks again for the rest.
    private static let comparisonCountMax = 64
    private static let none: Int32 = -1
    /// The longest time from the first to the last answer that one entry stands for.
    ///
    /// A pod resets a connection once for each segment that was under way.
    private static let burstNanoseconds: UInt64 = 50_000_000
    // As numbers, since durations have 128 bits, and this is computed for each connection.
    private static let answerNanoseconds = UInt64(
        RequestPart.Limits.answerTime.clampedNanoseconds)
    private static let holdNanoseconds = UInt64(
        RequestPart.Limits.holdTime.clampedNanoseconds)

    /// What an entry waits for.
    private enum Kind: Sendable {
        /// At the sender's edge: an answer there.
        case request
        /// At the sender's edge: an answer at the observed end's edge, which belongs to the capture.
        case requestToHere
        /// At the observed end's edge: an answer there.
        case requestAtObservedEnd
        /// At the sender's edge: a reset at the observed end's edge.
        case reset
        /// An answer at the observed end's edge, for requests that come out of another ring later.
        ///
        /// No packet belongs to it.
        case answer
        /// The same, where the answer is a reset, or several at once.
        case resetAnswer
        /// A reset that a pod sent in the observed end's name without having got the request.
        ///
        /// It answers nothing, but its own edge reports it.
        case strangersReset
        case free

        var isAnswer: Bool {
            self == .answer || self == .resetAnswer || self == .strangersReset
        }
    }

    private struct Entry: Sendable {
        var key: RequestKey
        var kind: Kind
        /// The time stamp of the packet, nanoseconds since 1970.
        var seenAt: UInt64
        /// The time stamp of the last answer that the entry stands for.
        var lastSeenAt: UInt64
        var heldAt: MonotonicTime
        var nextInBucket = RequestTable.none
        var previousInBucket = RequestTable.none
        var nextInOrder = RequestTable.none
        var previousInOrder = RequestTable.none
        var bucket: Int32
        /// The edge at which it was seen, and whether its pod passes on what others send.
        var interfaceIndex: UInt32
        var isPassedOn: Bool
    }

    private struct List: Sendable {
        var first = RequestTable.none
        var last = RequestTable.none

        mutating func append(_ index: Int32) {
            if first == RequestTable.none { first = index }
            last = index
        }

        /// Closes the gap that an entry leaves between these two.
        mutating func close(_ earlier: Int32, _ later: Int32) {
            if earlier == RequestTable.none { first = later }
            if later == RequestTable.none { last = earlier }
        }
    }

    package init() {}
}

/// Holding.
extension RequestTable {
    /// Holds a request.
    ///
    /// - Parameters:
    ///   - key: Its name.
    ///   - edge: Where it was seen.
    ///   - isOtherEdgeHere: Whether both of its edges belong to the capture.
    ///   - interfaceIndex: The index of the edge.
    ///   - isPassedOn: Whether the edge's pod is another one than the source.
    ///   - seenAt: The time stamp of the packet, nanoseconds since 1970.
    ///   - now: The time by the forwarder's clock.
    /// - Returns: Whether it is held.
    package mutating func hold(
        _ key: RequestKey, at edge: RequestEdge, isOtherEdgeHere: Bool,
        on interfaceIndex: UInt32 = 0,
        isPassedOn: Bool = false, seenAt: UInt64, now: MonotonicTime
    ) -> Holding {
        var kind = Kind.requestAtObservedEnd
        if edge == .sender {
            kind = isOtherEdgeHere ? .requestToHere : .request
            // The rings of two edges are read one after the other, so the answer may come first.
            if isOtherEdgeHere, isAnswered(key, on: interfaceIndex, seenAt: seenAt) {
                return .answered
            }
        }
        return insert(key, kind, on: interfaceIndex, isPassedOn: isPassedOn, seenAt, now)
    }

    /// Holds a reset at the sender's edge, until the observed end's edge is known to report it or not.
    ///
    /// Both edges belong to the capture.
    package mutating func holdReset(
        _ key: RequestKey, seenAt: UInt64, now: MonotonicTime
    ) -> Holding {
        isReported(resetOf: key, seenAt: seenAt)
            ? .answered : insert(key, .reset, on: 0, isPassedOn: false, seenAt, now)
    }

    /// Whether the observed end's edge has seen an answer to a request that was seen at another edge.
    private func isAnswered(
        _ key: RequestKey, on interfaceIndex: UInt32, seenAt: UInt64
    ) -> Bool {
        let answer = slot(ofAnswerTo: key) { answer in
            answer.kind != .strangersReset && answer.lastSeenAt >= seenAt
                && Self.isInTime(answer.lastSeenAt, for: seenAt)
                // What a forwarder has answered may be what it has passed on.
                && !(answer.isPassedOn && answer.interfaceIndex == interfaceIndex)
        }
        return answer != nil
    }

    /// Whether the observed end's edge has seen a reset.
    private func isReported(resetOf key: RequestKey, seenAt: UInt64) -> Bool {
        let answer = slot(ofAnswerTo: key) { answer in
            answer.kind != .answer && answer.seenAt <= seenAt
                && Self.isInTime(seenAt, for: answer.lastSeenAt)
        }
        return answer != nil
    }

    /// The slot of the youngest answer to a request that suits.
    private func slot(ofAnswerTo key: RequestKey, _ suits: (Entry) -> Bool) -> Int? {
        guard answerCount > 0 else { return nil }
        return slot(of: key) { $0.kind.isAnswer && suits($0) }
    }

    /// The slot of the youngest entry of a request that suits.
    private func slot(of key: RequestKey, _ suits: (Entry) -> Bool) -> Int? {
        var index = buckets[bucket(of: key)]
        var comparisonCount = 0
        while index != Self.none, comparisonCount < Self.comparisonCountMax {
            let slot = Int(index)
            if entries[slot].key == key, suits(entries[slot]) { return slot }
            index = entries[slot].nextInBucket
            comparisonCount += 1
        }
        return nil
    }

    private mutating func insert(
        _ key: RequestKey, _ kind: Kind, on interfaceIndex: UInt32, isPassedOn: Bool,
        _ seenAt: UInt64, _ now: MonotonicTime
    ) -> Holding {
        if buckets.isEmpty { buckets = Array(repeating: Self.none, count: Self.bucketCount) }
        forgetAnswers(now)
        let bucket = Int32(truncatingIfNeeded: bucket(of: key))
        var entry = Entry(
            key: key, kind: kind, seenAt: seenAt, lastSeenAt: seenAt, heldAt: now, bucket: bucket,
            interfaceIndex: interfaceIndex, isPassedOn: isPassedOn)
        // The youngest answers are the useful ones: the others' rings have been read.
        let lacksRoom = firstFree == Self.none && entries.count == Self.countMax
        if lacksRoom || kind.isAnswer && answerCount == Self.answerCountMax, answerCount > 0 {
            remove(Int(answerOrder.first))
        }
        entry.previousInOrder = kind.isAnswer ? answerOrder.last : order.last
        entry.nextInBucket = buckets[Int(bucket)]
        let slot: Int
        if firstFree != Self.none {
            slot = Int(firstFree)
            firstFree = entries[slot].nextInOrder
            entries[slot] = entry
        } else {
            guard entries.count < Self.countMax else { return .full }
            slot = entries.count
            entries.append(entry)
        }
        let index = Int32(truncatingIfNeeded: slot)
        if entry.previousInOrder != Self.none {
            entries[Int(entry.previousInOrder)].nextInOrder = index
        }
        if kind.isAnswer {
            answerOrder.append(index)
        } else {
            order.append(index)
        }
        if entry.nextInBucket != Self.none {
            entries[Int(entry.nextInBucket)].previousInBucket = index
        }
        buckets[Int(bucket)] = index
        if kind.isAnswer { answerCount += 1 } else { count += 1 }
        return .held(slot: slot)
    }

    /// Forgets the oldest answers if they are old enough; nobody else does if no packet waits.
    private mutating func forgetAnswers(_ now: MonotonicTime) {
        while answerCount > 0, Self.isOver(entries[Int(answerOrder.first)].heldAt, now) {
            remove(Int(answerOrder.first))
        }
    }

    /// The bucket of a request, by a hash with a secret, so that nobody can fill one bucket.
    private func bucket(of key: RequestKey) -> Int {
        var hash = (key.sourceLow ^ secret.0).folded(with: key.destinationLow ^ secret.1)
        hash = (hash ^ key.sourceHigh).folded(with: key.destinationHigh ^ secret.0)
        hash = (hash ^ key.numbers).folded(with: secret.1)
        return Int(truncatingIfNeeded: hash) & (Self.bucketCount - 1)
    }

    /// Whether what is held since a time has waited long enough.
    private static func isOver(_ heldAt: MonotonicTime, _ now: MonotonicTime) -> Bool {
        now.nanoseconds >= heldAt.nanoseconds &+ holdNanoseconds
    }

    /// Whether an answer comes in time for a request, by the time stamps of both.
    private static func isInTime(_ answer: UInt64, for request: UInt64) -> Bool {
        // A clock that was set back makes the answer the earlier one.
        answer <= request || answer - request <= answerNanoseconds
    }
}

/// Deciding.
extension RequestTable {
    /// Returns the sender of an answer that an edge sees.
    ///
    /// A pod could hide requests by answers in the observed end's name, but for a request that has come
    /// to it, as to a firewall.
    package func answerer(
        to key: RequestKey, at edge: RequestEdge, on interfaceIndex: UInt32,
        _ localEdges: LocalEdges
    ) -> Answerer {
        guard edge == .observedEnd,
            localEdges.isElsewhere(key.destination, thanEdge: interfaceIndex)
        else { return .observedEnd }
        guard count > 0 else { return .stranger }
        let request = slot(of: key) {
            $0.kind == .requestAtObservedEnd && $0.interfaceIndex == interfaceIndex
        }
        return request == nil ? .stranger : .forwarder
    }

    /// Records an answer at the observed end's edge for requests whose sender's edge is read later.
    ///
    /// Both edges belong to the capture.
    package mutating func record(
        answerTo key: RequestKey, isReset: Bool, on interfaceIndex: UInt32 = 0,
        by answerer: Answerer = .observedEnd, seenAt: UInt64, now: MonotonicTime
    ) {
        let kind: Kind =
            answerer == .stranger ? .strangersReset : isReset ? .resetAnswer : .answer
        let isPassedOn = answerer != .observedEnd
        let known = slot(ofAnswerTo: key) { answer in
            answer.kind == kind && answer.lastSeenAt <= seenAt
                && answer.interfaceIndex == interfaceIndex && answer.isPassedOn == isPassedOn
                && seenAt - answer.seenAt <= Self.burstNanoseconds
        }
        if let known {
            entries[known].lastSeenAt = seenAt
        } else {
            _ = insert(key, kind, on: interfaceIndex, isPassedOn: isPassedOn, seenAt, now)
        }
    }

    /// Takes the oldest packet whose fate an answer decides; nil if there is none.
    package mutating func release(
        answered key: RequestKey, at edge: RequestEdge, isReset: Bool,
        on interfaceIndex: UInt32 = 0, by answerer: Answerer = .observedEnd, seenAt: UInt64,
        now: MonotonicTime
    ) -> Release? {
        guard count > 0 else { return nil }
        let answer = Answer(
            edge: edge, isReset: isReset, interfaceIndex: interfaceIndex, answerer: answerer,
            seenAt: seenAt)
        var index = buckets[bucket(of: key)]
        var comparisonCount = 0
        var oldest: Release?
        // A bucket begins with its youngest entry.
        while index != Self.none, comparisonCount < Self.comparisonCountMax {
            let slot = Int(index)
            if entries[slot].key == key, let fate = fate(of: slot, answer, now) {
                oldest = Release(
                    slot: slot, fate: fate, isPassedOn: entries[slot].isPassedOn)
            }
            index = entries[slot].nextInBucket
            comparisonCount += 1
        }
        if let oldest { remove(oldest.slot) }
        return oldest
    }

    /// An answer that may decide about what waits.
    private struct Answer {
        let edge: RequestEdge
        let isReset: Bool
        let interfaceIndex: UInt32
        let answerer: Answerer
        let seenAt: UInt64
    }

    private func fate(of slot: Int, _ answer: Answer, _ now: MonotonicTime) -> Release.Fate? {
        let (requestSeenAt, seenAt) = (entries[slot].seenAt, answer.seenAt)
        let isAtSameEdge = entries[slot].interfaceIndex == answer.interfaceIndex
        switch (entries[slot].kind, answer.edge) {
        case (.request, .sender) where isAtSameEdge,
            // A firewall of the node may have made a reset, but no other answer.
            (.requestToHere, .sender)
        where isAtSameEdge && entries[slot].isPassedOn && !answer.isReset:
            return Self.isInTime(seenAt, for: requestSeenAt) ? .answeredThere : .unanswered
        case (.requestAtObservedEnd, .observedEnd)
        where isAtSameEdge && answer.answerer != .stranger:
            // Should the clock be set forward, the sender's edge, which takes the request for answered,
            // must not be alone with that.
            let isInTime =
                Self.isInTime(seenAt, for: requestSeenAt)
                || seenAt - requestSeenAt > Self.holdNanoseconds
                    && now.nanoseconds
                        <= entries[slot].heldAt.nanoseconds &+ Self.answerNanoseconds
            return isInTime ? .answeredHere : .leftToSender
        // The answer that a forwarder passes on says nothing of the request that it has passed on.
        case (.requestToHere, .observedEnd)
        where answer.answerer == .observedEnd || answer.answerer == .forwarder && !isAtSameEdge:
            let isAnswered = seenAt >= requestSeenAt && Self.isInTime(seenAt, for: requestSeenAt)
            return isAnswered ? .answeredThere : nil
        case (.reset, .observedEnd):
            return answer.isReset && seenAt <= requestSeenAt ? .resetSeenThere : nil
        default: return nil
        }
    }

    /// Takes the oldest packet that has waited long enough; nil if there is none.
    package mutating func takeExpired(now: MonotonicTime) -> Release? {
        while order.first != Self.none {
            let slot = Int(order.first)
            guard Self.isOver(entries[slot].heldAt, now) else { return nil }
            if let release = take(slot) { return release }
        }
        return nil
    }

    /// When the oldest packet may have waited long enough; nil if none waits.
    package var expiresAt: MonotonicTime? {
        guard count > 0 else { return nil }
        return entries[Int(order.first)].heldAt + RequestPart.Limits.holdTime
    }

    /// Takes the oldest packet, as if it had waited long enough.
    package mutating func takeFirst() -> Release? {
        while order.first != Self.none {
            if let release = take(Int(order.first)) { return release }
        }
        return nil
    }

    /// Takes what is in a slot, as if it had waited long enough.
    ///
    /// - Returns: nil if that is no packet.
    package mutating func take(_ slot: Int) -> Release? {
        let (key, seenAt) = (entries[slot].key, entries[slot].seenAt)
        let fate: Release.Fate? =
            switch entries[slot].kind {
            case .request: .unanswered
            // An answer may have come that was compared with too many others.
            case .requestToHere:
                isAnswered(key, on: entries[slot].interfaceIndex, seenAt: seenAt)
                    ? .answeredThere : .unanswered
            case .requestAtObservedEnd: .leftToSender
            case .reset:
                isReported(resetOf: key, seenAt: seenAt) ? .resetSeenThere : .resetFromElsewhere
            case .answer, .resetAnswer, .strangersReset, .free: nil
            }
        if entries[slot].kind != .free { remove(slot) }
        return fate.map { Release(slot: slot, fate: $0) }
    }

    private mutating func remove(_ slot: Int) {
        let (previous, next) = (entries[slot].previousInBucket, entries[slot].nextInBucket)
        if previous == Self.none {
            buckets[Int(entries[slot].bucket)] = next
        } else {
            entries[Int(previous)].nextInBucket = next
        }
        if next != Self.none { entries[Int(next)].previousInBucket = previous }
        let (earlier, later) = (entries[slot].previousInOrder, entries[slot].nextInOrder)
        if earlier != Self.none { entries[Int(earlier)].nextInOrder = later }
        if later != Self.none { entries[Int(later)].previousInOrder = earlier }
        if entries[slot].kind.isAnswer {
            answerOrder.close(earlier, later)
            answerCount -= 1
        } else {
            order.close(earlier, later)
            count -= 1
        }
        entries[slot].kind = .free
        entries[slot].nextInOrder = firstFree
        firstFree = Int32(truncatingIfNeeded: slot)
    }
}
