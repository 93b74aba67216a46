import Addressing
import Linux
import Observation
import PacketRing
import Packets
import RPCAP
import Time

/// Step 8, requests: what asks for an answer waits for it, at both of its edges.
extension Pipeline {
    /// Forwards a TCP segment that opens or refuses a connection between two pods.
    ///
    /// - Returns: False if the packet has to go the long way.
    @inline(never)
    mutating func forward(
        _ opening: FastPath.Opening, _ packet: borrowing RingPacket, _ edge: EdgeContext,
        _ limit: Int, into queue: inout ByteQueue, _ now: MonotonicTime,
        _ counts: inout BlockCounts
    ) -> Bool {
        guard selection.isEverything else { return false }
        switch opening.kind {
        // A program with a filter punts it before the filter.
        case .kept: return filter.program == nil && copy(packet, limit, into: &queue, &counts)
        case .neither: break
        case .request:
            let isHeld = hold(
                edge.packet(packet), opening.key, at: opening.edge, nil, edge.counters, now,
                &counts)
            if isHeld {
                counts.puntedCount += 1
                return true
            }
        case .answer, .reset:
            // Comparing enumerations of another module is a call, and matching is none.
            var isReset = false
            if case .reset = opening.kind {
                // A reset may have to wait as well.
                if case .sender = opening.edge { return false }
                isReset = true
            }
            releaseRequests(
                answered: opening.key, at: opening.edge, isReset: isReset,
                seenAt: packet.nanosecondsSince1970, edge.interfaceIndex(of: packet),
                edge.counters, into: &queue, now, &counts)
        }
        counts.puntedCount += 1
        guard opening.isReported else {
            counts.refusedCount += 1
            return true
        }
        // The filter has not seen what the program punts.
        if filter.program != nil || !copy(packet, limit, into: &queue, &counts) {
            report(
                edge.packet(packet), nil, at: edge.interfaceIndex(of: packet), edge.counters,
                into: &queue, now, &counts)
        }
        return true
    }

    /// Copies a packet that needs no more than its checksum finished.
    ///
    /// - Returns: Whether that was enough.
    private mutating func copy(
        _ packet: borrowing RingPacket, _ limit: Int, into queue: inout ByteQueue,
        _ counts: inout BlockCounts
    ) -> Bool {
        if packet.isFinished || !writer.restoresWireForm {
            writer.append(asItIs: packet, limit, to: &queue, &counts)
            return true
        }
        guard limit >= packet.bytes.byteCount, let checksum = packet.plainChecksum else {
            return false
        }
        writer.append(packet, finishing: checksum, to: &queue, &counts)
        return true
    }

    /// Holds a request, or decides about the requests that a packet answers.
    ///
    /// - Returns: Whether that was all; if not, the decision about the packet is to be carried out.
    mutating func carryOut(
        _ part: RequestPart, _ outcome: SlowPath.Outcome, _ packet: borrowing Packet,
        at point: ObservationPoint, _ frames: EdgeTally, into queue: inout ByteQueue,
        _ now: MonotonicTime, _ counts: inout BlockCounts
    ) -> Bool {
        switch part {
        case .request(let key, let edge):
            let isUnknown = outcome.translation == nil && outcome.decision.step != .observedEnd
            return hold(
                packet, key, at: edge,
                HeldRequests.Form(
                    translation: outcome.translation, unknownCall: isUnknown ? key.flow : nil),
                frames, now, &counts)
        case .answer(let answer):
            return carryOut(answer, outcome, packet, at: point, frames, into: &queue, now, &counts)
        }
    }

    /// - Returns: Whether the request is held, or known to be reported elsewhere.
    private mutating func hold(
        _ packet: borrowing Packet, _ key: RequestKey, at edge: RequestEdge,
        _ form: HeldRequests.Form?, _ frames: EdgeTally, _ now: MonotonicTime,
        _ counts: inout BlockCounts
    ) -> Bool {
        guard HeldRequests.canHold(packet) else {
            counts.record(.tooLong)
            return false
        }
        var isOtherEdgeHere = false
        var isPassedOn = false
        if case .sender = edge {
            isOtherEdgeHere = localEdges.contains(key.destination)
            isPassedOn = localEdges.isForeign(
                key.source, atEdge: packet.details.interfaceIndex)
            // The answer to a forged source goes elsewhere, so only the other edge can see it.
            if !isOtherEdgeHere, isPassedOn {
                counts.record(.foreignSource)
                return false
            }
        }
        let holding = requests.hold(
            packet, key, at: edge, isOtherEdgeHere: isOtherEdgeHere, isPassedOn: isPassedOn, form,
            frames, now: now)
        switch holding {
        case .held: counts.record(.held)
        case .answered:
            counts.record(.held)
            counts.record(.answered)
            counts.refusedCount += 1
        case .full:
            counts.record(.tableFull)
            return false
        }
        return true
    }

    /// Decides about the requests that an answer is for; the sender's edge may have to hold a reset.
    private mutating func carryOut(
        _ answer: RequestPart.Answer, _ outcome: SlowPath.Outcome, _ packet: borrowing Packet,
        at point: ObservationPoint, _ frames: EdgeTally, into queue: inout ByteQueue,
        _ now: MonotonicTime, _ counts: inout BlockCounts
    ) -> Bool {
        let seenAt = packet.details.nanosecondsSince1970
        if answer.key != answer.unknownKey {
            releaseRequests(
                answered: answer.key, at: answer.edge, isReset: answer.isReset, seenAt: seenAt,
                packet.details.interfaceIndex, frames, into: &queue, now, &counts)
        }
        guard answer.edge == .sender else { return false }
        if let key = answer.unknownKey {
            let isReported = outcome.decision.isReported
            let fate: RequestTable.Release.Fate? =
                answer.isFromFirewall ? .unanswered : isReported ? .answeredHere : nil
            let count = release(
                into: &queue, now, frames, &counts, answered: fate, outcome.translation
            ) {
                $0.release(
                    answered: key, at: .sender, isReset: answer.isReset,
                    on: packet.details.interfaceIndex, seenAt: seenAt, now: now)
            }
            if answer.isFromFirewall, count > 0, !isReported {
                counts.record(.resetsFromElsewhere)
                carryOut(
                    SlowPath.Outcome(decision: .report(.unexplainedService)), packet, at: point,
                    frames, into: &queue, now, &counts)
                return true
            }
        }
        guard answer.isReset, !outcome.decision.isReported,
            localEdges.contains(answer.key.destination)
        else { return false }
        let holding = requests.holdReset(
            packet, answer.key,
            outcome.translation.map { HeldRequests.Form(translation: $0, unknownCall: nil) },
            frames, now: now)
        if case .held = holding { return true }
        return false
    }

    /// Decides about the requests that an answer is for.
    private mutating func releaseRequests(
        answered key: RequestKey, at edge: RequestEdge, isReset: Bool, seenAt: UInt64,
        _ interfaceIndex: UInt32, _ frames: EdgeTally, into queue: inout ByteQueue,
        _ now: MonotonicTime, _ counts: inout BlockCounts
    ) {
        let answerer = requests.table.answerer(to: key, at: edge, on: interfaceIndex, localEdges)
        if answerer == .stranger, !isReset { return }
        var hasSendersEdge = false
        while requests.count > 0,
            let request = requests.release({
                $0.release(
                    answered: key, at: edge, isReset: isReset, on: interfaceIndex, by: answerer,
                    seenAt: seenAt, now: now)
            })
        {
            settle(request, into: &queue, now, frames, &counts)
            // A pod that passes the request on has an edge beside its first sender's.
            if case .answeredThere = request.fate, !request.isPassedOn { hasSendersEdge = true }
        }
        // The sender's edge may be here and be read later, even if the source is forged.
        if case .observedEnd = edge, isReset || !hasSendersEdge {
            requests.record(
                answerTo: key, isReset: isReset, on: interfaceIndex, by: answerer, seenAt: seenAt,
                now: now)
        }
    }
}

/// The requests that wait no longer.
extension Pipeline {
    /// Reports, or gives up, the requests that have waited long enough, as far as the queue has room.
    mutating func expireRequests(into queue: inout ByteQueue, now: MonotonicTime) {
        while let expiresAt = requests.table.expiresAt, now >= expiresAt,
            queue.hasRoom(for: Self.requestByteCountMax),
            let request = requests.release({ $0.takeExpired(now: now) })
        {
            settle(request, into: &queue, now)
        }
    }

    /// Decides about the requests of an edge that is gone, as if they had waited long enough.
    mutating func releaseRequests(
        countedBy frames: EdgeTally, into queue: inout ByteQueue, _ now: MonotonicTime
    ) {
        defer { requests.forget(frames) }
        guard requests.count > 0 else { return }
        for slot in requests.slots where requests.isCounted(slot, by: frames) {
            if let request = requests.release({ $0.take(slot) }) {
                settle(request, into: &queue, now)
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
    ///   - frames: The counters of the edge whose block is at hand.
    ///   - counts: What is counted for these counters.
    ///   - fate: What becomes of answered requests, if not what the table says.
    ///   - translation: The change into the form in which they are reported.
    ///   - next: Releases the next one.
    /// - Returns: The number of frames.
    private mutating func release(
        into queue: inout ByteQueue, _ now: MonotonicTime, _ frames: EdgeTally,
        _ counts: inout BlockCounts, answered fate: RequestTable.Release.Fate? = nil,
        _ translation: Translation? = nil, _ next: (inout RequestTable) -> RequestTable.Release?
    ) -> Int {
        var count = 0
        while let request = requests.release(next) {
            count += 1
            let fate = request.fate == .answeredThere ? fate : nil
            settle(request, fate, translation, into: &queue, now, frames, &counts)
        }
        return count
    }

    /// Carries out what was decided about a held frame; `counts` are those of `frames`.
    private mutating func settle(
        _ request: HeldRequests.Released, _ fate: RequestTable.Release.Fate? = nil,
        _ translation: Translation? = nil, into queue: inout ByteQueue, _ now: MonotonicTime,
        _ frames: EdgeTally, _ counts: inout BlockCounts
    ) {
        if request.counters === frames {
            settle(request, fate ?? request.fate, translation, into: &queue, now, &counts)
        } else {
            settle(request, fate, translation, into: &queue, now)
        }
    }

    /// Carries out what was decided about a held frame, and counts it where it was seen.
    private mutating func settle(
        _ request: HeldRequests.Released, _ fate: RequestTable.Release.Fate? = nil,
        _ translation: Translation? = nil, into queue: inout ByteQueue, _ now: MonotonicTime
    ) {
        let fate = fate ?? request.fate
        guard fate.isReported else {
            let frames = request.counters
            if let metric = RequestMetric(fate) { record(metric, frames) }
            frames.common.add(1, to: .refused)
            return counters.frames.add(1, to: .refused)
        }
        var counts = BlockCounts()
        settle(request, fate, translation, into: &queue, now, &counts)
        add(counts, to: request.counters)
    }

    private mutating func settle(
        _ request: HeldRequests.Released, _ fate: RequestTable.Release.Fate,
        _ translation: Translation?, into queue: inout ByteQueue, _ now: MonotonicTime,
        _ counts: inout BlockCounts
    ) {
        if let metric = RequestMetric(fate) { counts.record(metric) }
        guard fate.isReported else {
            counts.refusedCount += 1
            return
        }
        guard isOwn(requests.packet(request).details.nanosecondsSince1970, &counts) else { return }
        let form = request.form
        var translation = translation ?? form?.translation
        if translation == nil, let call = form?.unknownCall {
            translation = slowPath.translation(ofUnknown: call, now: now)
        }
        if translation != nil { counts.translatedCount += 1 }
        Self.write(
            request, of: requests, translation, &selection, filter, through: &writer, sideViews,
            &queue, now, &counts)
    }

    private static func write(
        _ request: HeldRequests.Released, of requests: borrowing HeldRequests,
        _ translation: Translation?, _ selection: inout PacketSelection, _ filter: PacketFilter,
        through writer: inout PacketWriter, _ sideViews: [CaptureView],
        _ queue: inout ByteQueue, _ now: MonotonicTime, _ counts: inout BlockCounts
    ) {
        let packet = requests.packet(request)
        let interfaceIndex = packet.details.interfaceIndex
        guard
            selection.admits(
                packet, translation, nil, at: interfaceIndex, isSampled: false, now, &counts)
        else { return }
        writer.append(packet, translation, filter, at: interfaceIndex, to: &queue, &counts)
        for view in sideViews {
            view.append(
                packet, translation, at: interfaceIndex, isFiltered: false, of: request.counters)
        }
    }

    func record(_ metric: RequestMetric, _ frames: EdgeTally) {
        frames.common.record(metric)
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
