import Addressing
package import Edges
package import Observation
import Packets
import RPCAP
import Time

/// Counts what becomes of recorded frames at the edges of this node, by the steps that decide.
package struct FileExplanation: ~Copyable {
    private var explainer: Explainer
    /// The edge where all frames were recorded; nil if each frame's MAC addresses tell.
    private let edge: Edge?
    /// Whether the edge was inferred from the frames that name it; nobody has vouched for others.
    private let isInferred: Bool
    private var programs: [UInt32: EdgeProgram] = [:]
    private var dropList: ServiceDropList
    private var requests = RequestTable()
    /// By the slots of `requests`, which bounds them.
    private var held: [Int: HeldRequest] = [:]
    /// Requests that are reported at once, and are listed if nobody answers them.
    private var watched = RequestTable()
    private var recentFrames = RecentFrames()
    /// By the slots of `watched`: when each was seen.
    private var watchedRequests: [Int: (flow: FlowKey, nanoseconds: UInt64)] = [:]
    /// The number of requests that were reported at once and open when the file ended.
    private var openAtOnceCount = 0
    /// The latest time of a frame: frames of different edges can be out of order.
    private var latest = MonotonicTime.zero

    /// The least step back of frames' times that is not for different edges.
    private static let setbackMin = Duration.seconds(60)
    /// The requests that nobody answered.
    package private(set) var unanswered = UnansweredRequests()
    /// The number of requests that were not held, because there were too many or their source is forged.
    package private(set) var notHeldCount = 0
    /// The number of frames with each outcome.
    package private(set) var counts: [Row: Int] = [:]
    /// The number of all frames.
    package private(set) var frameCount = 0
    /// The number of frames that neither come from a pod of this node nor go to one.
    package private(set) var strangerCount = 0
    /// The number of frames between two pods of this node, which count as recorded where they enter.
    package private(set) var ambiguousCount = 0

    /// An outcome that frames have in common.
    package struct Row: Hashable, Sendable {
        /// The step of the rule that decides.
        package let step: Decision.Step
        /// Whether the frame is reported.
        package let isReported: Bool
        /// Whether the kernel decides, or the slow path.
        package let isDecidedByKernel: Bool
        /// What became of a request that was held; nil for all other frames.
        package var request: RequestResult?
    }

    /// What became of a request that was held.
    package enum RequestResult: Hashable, Sendable, CaseIterable {
        /// An answer came in time.
        case answered
        /// No answer came in time.
        case unanswered
        /// The file ended before the time was over.
        case undecided
    }

    /// A request that waits for its answer.
    private struct HeldRequest {
        let flow: FlowKey
        let edge: RequestEdge
        let nanoseconds: UInt64
        let step: Decision.Step
    }

    /// Creates an explanation without frames.
    ///
    /// - Parameters:
    ///   - explainer: What explains each frame.
    ///   - edge: Where all frames were recorded; nil if their MAC addresses tell.
    ///   - isInferred: Whether `edge` was inferred: a frame without a pod's MAC address is then none of it.
    package init(_ explainer: consuming Explainer, at edge: Edge?, isInferred: Bool = false) {
        dropList = ServiceDropList()
        self.explainer = explainer
        self.edge = edge
        self.isInferred = isInferred
    }

    /// Adds a frame, with the time at which it was recorded.
    ///
    /// Translations are those that connection tracking knows now. The drop list of services grows by
    /// what the slow path learns, as in an agent.
    package mutating func add(_ frame: [UInt8], nanoseconds: UInt64) {
        frameCount += 1
        let now = MonotonicTime(nanoseconds: nanoseconds)
        if now + Self.setbackMin < latest {
            // Frames are not that much out of order: the clock was set back, or one time was wrong.
            while let release = requests.takeFirst() { settle(release) }
            while let release = watched.takeFirst() { settleWatched(release) }
            latest = now
        }
        latest = max(latest, now)
        while let release = requests.takeExpired(now: latest) { settle(release) }
        while let release = watched.takeExpired(now: latest) { settleWatched(release) }
        guard let (point, direction) = origin(of: frame) else {
            strangerCount += 1
            return
        }
        let before = dropList
        _ = dropList.refresh(
            at: explainer.services, explainer.fronts, edgeCount: explainer.edges.count, now: now)
        if dropList.services != before.services || dropList.fronts != before.fronts {
            programs.removeAll()
        }
        var outcome = explainer.decide(frame, direction: direction, at: point, now: now)
        if let copy = bridgedCopy(frame, direction, at: point, now) { outcome = copy }
        switch outcome.requestPart {
        case .request(let key, let edge):
            if hold(key, at: edge, point, nanoseconds, outcome.decision.step) { return }
        case .answer(let answer): release(answer, nanoseconds)
        case nil: break
        }
        watch(frame, nanoseconds, isReportedAtOnce: outcome.decision.isReported)
        let isCopy = [.flooded, .groupFromPod].contains(outcome.decision.step)
        let passed = isCopy ? Direction.toPod : direction
        let isDecided = program(at: point).decides(
            frame, direction: passed, at: point.side)
        let row = Row(
            step: outcome.decision.step, isReported: outcome.decision.isReported,
            isDecidedByKernel: isDecided)
        counts[row, default: 0] += 1
    }

    /// Counts the requests that still wait when the file ends.
    package mutating func end() {
        while let release = requests.takeFirst() { settle(release, isUndecided: true) }
        while let release = watched.takeFirst() {
            if watchedRequests.removeValue(forKey: release.slot) != nil { openAtOnceCount += 1 }
        }
    }

    /// The number of requests that nobody had answered when the file ended, and still might have.
    package var openCount: Int { requestCount(.undecided) + openAtOnceCount }

    /// The number of frames that the kernel punted to the slow path.
    package var puntedCount: Int {
        counts.filter { !$0.key.isDecidedByKernel }.values.reduce(0, +)
    }

    /// The number of requests that were held and had this result.
    package func requestCount(_ result: RequestResult) -> Int {
        counts.filter { $0.key.request == result }.values.reduce(0, +)
    }

    /// The edge where a frame was recorded, and its direction there.
    private mutating func origin(of frame: [UInt8]) -> (
        ObservationPoint, direction: Direction
    )? {
        guard frame.count >= EthernetHeader.byteCount else { return nil }
        let source = MACAddress(frame.wire, at: 6)
        let destination = MACAddress(frame.wire, at: 0)
        if let point = edge?.point {
            if point.has(source) { return (point, .fromPod) }
            // A bridge floods what goes to a group to edges that the frame does not name.
            let isStranger = isInferred && !destination.isGroup && !point.has(destination)
            return isStranger ? nil : (point, .toPod)
        }
        let points = explainer.edges.map(\.point)
        let receiver = points.first { $0.has(destination) }
        guard let sender = points.first(where: { $0.has(source) }) else {
            return receiver.map { ($0, .toPod) }
        }
        if receiver != nil { ambiguousCount += 1 }
        return (sender, .fromPod)
    }

    private mutating func program(at point: ObservationPoint) -> EdgeProgram {
        if let program = programs[point.interfaceIndex] { return program }
        let program = EdgeProgram(
            explainer.rule, at: point, snaplen: UInt32(StartRequest.snaplenMax),
            fronts: dropList.fronts, dropList: dropList.services)
        programs[point.interfaceIndex] = program
        return program
    }
}

/// Step 8, requests.
extension FileExplanation {
    /// What is decided about a copy that a bridge has made of a frame.
    ///
    /// A file does not say in which direction a frame passed, nor at which edge. A copy of a frame
    /// just seen, the same in every byte, went to a pod: to another one, or on a hairpin port back to
    /// its sender. It belongs to the edge that its source MAC address names.
    ///
    /// - Returns: The refusal; nil if the frame is no such copy.
    private mutating func bridgedCopy(
        _ frame: [UInt8], _ direction: Direction, at point: ObservationPoint, _ now: MonotonicTime
    ) -> SlowPath.Outcome? {
        guard direction == .fromPod, point.bridge != nil, mayHaveCopies(frame, at: point),
            recentFrames.contains(frame, orAddsAt: now, point.interfaceIndex)
        else { return nil }
        let outcome = explainer.decide(frame, direction: .toPod, at: point, now: now)
        return [.flooded, .groupFromPod].contains(outcome.decision.step) ? outcome : nil
    }

    /// Whether a bridge sends a pod's frame to more ports than one.
    ///
    /// A MAC address that is known now may not have been when a request was sent.
    private func mayHaveCopies(_ frame: [UInt8], at point: ObservationPoint) -> Bool {
        let headers = Headers(frame.wire)
        return headers.destination.isGroup || headers.packet?.opening?.isRequest == true
            || explainer.rule.unknownMAC(in: frame.wire, direction: .toPod, at: point) != nil
    }

    /// Holds a request until the frames after it show an answer.
    ///
    /// - Returns: Whether it is held.
    private mutating func hold(
        _ key: RequestKey, at edge: RequestEdge, _ point: ObservationPoint, _ nanoseconds: UInt64,
        _ step: Decision.Step
    ) -> Bool {
        let isForeign =
            edge == .sender && !explainer.localEdges.contains(key.flow.destination)
            && explainer.localEdges.isForeign(key.flow.source, atEdge: point.interfaceIndex)
        // A file may lack the other edge, so an answer counts wherever it was recorded.
        let holding =
            isForeign
            ? .full
            : requests.hold(
                key, at: edge, isOtherEdgeHere: false, seenAt: nanoseconds, now: latest)
        guard case .held(let slot) = holding else {
            notHeldCount += 1
            return false
        }
        held[slot] = HeldRequest(
            flow: key.flow, edge: edge, nanoseconds: nanoseconds, step: step)
        return true
    }

    /// Decides about the requests that an answer is for, at whichever edge each was recorded.
    private mutating func release(_ answer: RequestPart.Answer, _ nanoseconds: UInt64) {
        var keys = [answer.key]
        if let key = answer.unknownKey, key != answer.key { keys.append(key) }
        for key in keys {
            for edge in RequestEdge.allCases {
                while let release = requests.release(
                    answered: key, at: edge, isReset: answer.isReset, seenAt: nanoseconds,
                    now: latest)
                {
                    settle(release)
                }
            }
        }
    }

    private mutating func settle(_ release: RequestTable.Release, isUndecided: Bool = false) {
        guard let request = held.removeValue(forKey: release.slot) else { return }
        let isAnswered = [.answeredHere, .answeredThere].contains(release.fate)
        let result: RequestResult =
            isUndecided ? .undecided : isAnswered ? .answered : .unanswered
        let row = Row(
            step: request.step, isReported: release.fate.isReported && !isUndecided,
            isDecidedByKernel: false, request: result)
        counts[row, default: 0] += 1
        if result == .unanswered {
            unanswered.add(
                request.flow, heldAt: request.edge, nanoseconds: request.nanoseconds)
        }
    }

    /// Watches a request that is reported at once, or takes an answer to one.
    private mutating func watch(_ frame: [UInt8], _ nanoseconds: UInt64, isReportedAtOnce: Bool) {
        guard let packet = Headers(frame.wire).packet, let opening = packet.opening else { return }
        let flow = FlowKey(packet)
        if opening.isAnswer {
            let key = RequestKey(flow.reversed, sequence: opening.sequence)
            while let release = watched.release(
                answered: key, at: .sender, isReset: opening == .reset, seenAt: nanoseconds,
                now: latest)
            {
                settleWatched(release)
            }
        }
        guard opening.isRequest, isReportedAtOnce else { return }
        let holding = watched.hold(
            RequestKey(flow, sequence: opening.sequence), at: .sender, isOtherEdgeHere: false,
            seenAt: nanoseconds, now: latest)
        if case .held(let slot) = holding { watchedRequests[slot] = (flow, nanoseconds) }
    }

    private mutating func settleWatched(_ release: RequestTable.Release) {
        guard let request = watchedRequests.removeValue(forKey: release.slot),
            release.fate == .unanswered
        else { return }
        unanswered.add(request.flow, heldAt: nil, nanoseconds: request.nanoseconds)
    }
}
