import Addressing
import Linux
import Observation
import PacketRing
import Packets
import RPCAP
import Time

/// Step 8, requests.
extension Pipeline {
    /// Holds a request, or decides about the requests that a packet answers.
    ///
    /// - Returns: Whether that was all; if not, the decision about the packet is to be carried out.
    mutating func carryOut(
        _ part: RequestPart, _ outcome: SlowPath.Outcome, _ packet: borrowing Packet,
        at point: ObservationPoint, _ counters: FrameCounters, into queue: inout ByteQueue,
        _ now: MonotonicTime, _ counts: inout BlockCounts
    ) -> Bool {
        switch part {
        case .request(let key, let edge):
            return hold(
                packet, key, at: edge, outcome, point.interfaceIndex, counters, now, &counts)
        case .answer(let answer):
            return carryOut(
                answer, outcome, packet, at: point, counters, into: &queue, now, &counts)
        }
    }

    /// - Returns: Whether the request is held, or known to be reported elsewhere.
    private mutating func hold(
        _ packet: borrowing Packet, _ key: RequestKey, at edge: RequestEdge,
        _ outcome: SlowPath.Outcome, _ interfaceIndex: UInt32, _ counters: FrameCounters,
        _ now: MonotonicTime, _ counts: inout BlockCounts
    ) -> Bool {
        guard HeldRequests.canHold(packet) else {
            count(.tooLong, counters)
            return false
        }
        let isFromHere = edge == .sender
        if isFromHere, localEdges.isForeign(key.flow.source, atEdge: interfaceIndex) {
            count(.foreignSource, counters)
            return false
        }
        let holding = requests.hold(
            packet, key, at: edge,
            isOtherEdgeHere: isFromHere && localEdges.contains(key.flow.destination),
            outcome.translation,
            unknownCall: outcome.translation == nil && outcome.decision.step != .observedEnd
                ? key.flow : nil, counters, now: now)
        switch holding {
        case .held: count(.held, counters)
        case .answered:
            count(.held, counters)
            count(.answered, counters)
            counts.refusedCount += 1
        case .full:
            count(.tableFull, counters)
            return false
        }
        return true
    }

    /// Decides about the requests that an answer is for; the sender's edge may have to hold a reset.
    private mutating func carryOut(
        _ answer: RequestPart.Answer, _ outcome: SlowPath.Outcome, _ packet: borrowing Packet,
        at point: ObservationPoint, _ counters: FrameCounters, into queue: inout ByteQueue,
        _ now: MonotonicTime, _ counts: inout BlockCounts
    ) -> Bool {
        let seenAt = packet.details.nanosecondsSince1970
        if answer.key != answer.unknownKey {
            _ = release(into: &queue, now) {
                $0.release(answered: answer.key, at: answer.edge, seenAt: seenAt, now: now)
            }
        }
        guard answer.edge == .sender else {
            if localEdges.contains(answer.key.flow.source) {
                requests.record(answerTo: answer.key, seenAt: seenAt, now: now)
            }
            return false
        }
        if let key = answer.unknownKey {
            let isReported = outcome.decision.isReported
            let fate: RequestTable.Release.Fate? =
                answer.isFromFirewall ? .unanswered : isReported ? .answeredHere : nil
            let count = release(into: &queue, now, answered: fate, outcome.translation) {
                $0.release(answered: key, at: .sender, seenAt: seenAt, now: now)
            }
            if answer.isFromFirewall, count > 0, !isReported {
                self.count(.resetsFromElsewhere, counters)
                carryOut(
                    SlowPath.Outcome(decision: .report(.unexplainedService)), packet, at: point,
                    into: &queue, &counts)
                return true
            }
        }
        guard answer.isReset, !outcome.decision.isReported,
            localEdges.contains(answer.key.flow.destination)
        else { return false }
        let holding = requests.holdReset(
            packet, answer.key, outcome.translation, counters, now: now)
        if case .held = holding { return true }
        return false
    }

    /// Reports, or gives up, the requests that have waited long enough, as far as the queue has room.
    mutating func expireRequests(into queue: inout ByteQueue, now: MonotonicTime) {
        while let expiresAt = requests.table.expiresAt, now >= expiresAt,
            queue.makeRoom(for: Self.requestByteCountMax)
        {
            guard let request = requests.release({ $0.takeExpired(now: now) }) else { return }
            settle(request, fate: request.fate, nil, into: &queue, now)
        }
    }

    /// Decides about the requests of an edge that is gone, as if they had waited long enough.
    mutating func releaseRequests(
        countedBy counters: FrameCounters, into queue: inout ByteQueue, _ now: MonotonicTime
    ) {
        guard requests.count > 0 else { return }
        for slot in requests.slots where requests.isCounted(slot, by: counters) {
            if let request = requests.release({ $0.take(slot) }) {
                settle(request, fate: request.fate, nil, into: &queue, now)
            }
        }
    }

    /// The room in the queue that one held frame needs.
    private static let requestByteCountMax =
        HeldRequests.byteCountMax + PacketRecord.headerByteCount

    /// Decides about all frames that a function of the table releases.
    ///
    /// - Parameters:
    ///   - queue: The send queue.
    ///   - now: The time by the forwarder's clock.
    ///   - fate: What becomes of answered requests, if not what the table says.
    ///   - translation: The change into the form in which they are reported.
    ///   - next: Releases the next one.
    /// - Returns: The number of frames.
    private mutating func release(
        into queue: inout ByteQueue, _ now: MonotonicTime,
        answered fate: RequestTable.Release.Fate? = nil, _ translation: Translation? = nil,
        _ next: (inout RequestTable) -> RequestTable.Release?
    ) -> Int {
        var count = 0
        while let request = requests.release(next) {
            count += 1
            let fate = request.fate == .answeredThere ? fate ?? request.fate : request.fate
            settle(request, fate: fate, translation, into: &queue, now)
        }
        return count
    }

    /// Carries out what was decided about a held frame, and counts it where it was seen.
    private mutating func settle(
        _ request: HeldRequests.Released, fate: RequestTable.Release.Fate,
        _ translation: Translation?, into queue: inout ByteQueue, _ now: MonotonicTime
    ) {
        let record = request.record
        var counts = BlockCounts()
        count(RequestMetric(fate), record.counters)
        guard fate.isReported else {
            counts.refusedCount = 1
            return add(counts, to: record.counters)
        }
        var translation = translation ?? record.translation
        if translation == nil, let call = record.unknownCall {
            translation = slowPath.translation(ofUnknown: call, now: now)
        }
        if translation != nil { counts.translatedCount = 1 }
        Self.write(request, of: requests, translation, filter, through: &writer, &queue, &counts)
        add(counts, to: record.counters)
    }

    private static func write(
        _ request: HeldRequests.Released, of requests: borrowing HeldRequests,
        _ translation: Translation?, _ filter: PacketFilter, through writer: inout PacketWriter,
        _ queue: inout ByteQueue, _ counts: inout BlockCounts
    ) {
        writer.append(
            requests.packet(request), translation, filter,
            at: request.record.details.interfaceIndex, to: &queue, &counts)
    }

    func count(_ metric: RequestMetric?, _ frames: FrameCounters) {
        guard let metric else { return }
        frames.record(metric)
        counters.frames.record(metric)
    }
}

extension RequestMetric {
    /// The count of a fate; nil for a reset that the other edge has reported.
    fileprivate init?(_ fate: RequestTable.Release.Fate) {
        switch fate {
        case .answeredHere, .answeredThere: self = .answered
        case .unanswered: self = .unanswered
        case .leftToSender: self = .leftToSender
        case .resetFromElsewhere: self = .resetsFromElsewhere
        case .resetSeenThere: return nil
        }
    }
}
