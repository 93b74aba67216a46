import BPF
import Frames
import Glibc
import Kernel
import Logging
import RPCAP
import Synchronization

/// One session with one sensor: a control connection, and while the sensor wants it, a capture.
///
/// It belongs to the thread of its sensor. The capture has a thread of its own, so that the sensor
/// gets its answers while packets flow.
struct SensorSession: ~Copyable {
    private let context: AgentContext
    private let connection: Connection
    private let logger: Logger
    private var session: ServerSession
    private var capture: LiveCapture?
    private var filter: Program?
    private var output: [UInt8] = []
    private var input: [UInt8]
    private var messageDeadline: (message: Int, time: UInt64)?
    private var endReason: String?

    /// What a peer has begun to say it has to finish within this time.
    private static let messageNanosecondsMax: UInt64 = 10_000_000_000
    /// How long the data connection may take to open. libpcap's client waits for ever, so this is
    /// what keeps both from it.
    private static let dataConnectMillisecondsMax: CInt = 10_000
    /// How often a session looks whether a message is overdue, milliseconds.
    private static let deadlineMilliseconds: CInt = 1000
    /// Answers that a sensor does not read are not piled up beyond this.
    private static let outputByteCountMax = 1 << 20
    private static let readByteCount = 16 << 10

    init(_ context: AgentContext, _ connection: consuming Connection, logger: Logger) {
        self.context = context
        self.connection = connection
        self.logger = logger
        session = ServerSession(.active, devices: context.feed.node.devices(context.settings))
        input = [UInt8](repeating: 0, count: Self.readByteCount)
    }

    /// Serves the sensor until one side ends it, and answers why it ended. When the agent stops,
    /// what is captured is forwarded first, for at most a second.
    mutating func run() -> String {
        while endReason == nil {
            do throws(SystemError) {
                try turn()
            } catch {
                endReason = "\(error)"
            }
        }
        endCapture()
        return endReason ?? "ended"
    }

    private mutating func turn() throws(SystemError) {
        var control: Readiness = session.wantsInput ? .readable : []
        if !output.isEmpty { control.insert(.writable) }
        let ready = try poll(
            [
                (connection.number, control), (context.stop.number, .readable),
                (capture?.endedNumber ?? -1, .readable),
            ], milliseconds: Self.deadlineMilliseconds)
        if ready[1].contains(.readable) { return endReason = "the agent stops" }
        if ready[2].contains(.readable) {
            return endReason = capture?.endReason ?? "the capture ended"
        }
        if ready[0].contains(.readable) || !ready[0].isDisjoint(with: .failed) { try read() }
        while endReason == nil, let action = session.nextAction() { carryOut(action) }
        try write()
        checkDeadline()
    }

    private mutating func read() throws(SystemError) {
        switch try connection.receive(into: &input) {
        case nil: break
        case 0: endReason = "the sensor closed the connection"
        case let count?: session.receive(input[..<count])
        }
    }

    private mutating func write() throws(SystemError) {
        guard !output.isEmpty else { return }
        output.removeFirst(try connection.send(output[...]))
        if output.count > Self.outputByteCountMax { endReason = "the sensor reads no answers" }
    }

    private mutating func checkDeadline() {
        guard session.isInMessage else { return messageDeadline = nil }
        let now = monotonicNanoseconds()
        guard let deadline = messageDeadline, deadline.message == session.messageCount else {
            return messageDeadline = (session.messageCount, now + Self.messageNanosecondsMax)
        }
        if now > deadline.time, endReason == nil {
            endReason = "the sensor left a message unfinished"
        }
    }

    private mutating func carryOut(_ action: ServerSession.Action) {
        switch action {
        case .send(let bytes): output += bytes
        case .startCapture(let request): start(request)
        case .updateFilter(let instructions): update(instructions)
        case .reportStatistics: session.report(statistics())
        case .endCapture:
            endCapture()
            session.captureEnded()
        case .note(let text): logger.notice("\(text)")
        case .close(let reason):
            // What explains it has been put into the output just before.
            _ = try? connection.send(output[...])
            endReason = reason
        }
    }
}

extension SensorSession {
    private mutating func start(_ request: StartRequest) {
        guard !request.flags.contains(.udp) else {
            return session.captureRefused("data over UDP is not supported, ask for TCP")
        }
        do {
            let filter = try Program(checking: request.filter)
            // Nothing is captured before the programs know the connection they must not show.
            let data = try Connection(
                to: connection.peer.with(port: request.dataPort),
                milliseconds: Self.dataConnectMillisecondsMax, cancel: context.stop)
            try data.watchPeer()
            let snaplen = min(request.snaplen, context.settings.snaplen)
            let plan = CapturePlan(
                feed: context.feed, tracksConnections: context.tracksConnections, filter: filter,
                snaplen: snaplen,
                ringByteCountMax: context.settings.ringByteCountMax,
                queueByteCountMax: context.settings.queueByteCountMax)
            capture = try LiveCapture(plan, to: data.intoDescriptor(), logger: logger)
            self.filter = filter
            logger.info(
                "capture started",
                metadata: [
                    "edges": "\(context.feed.snapshot.places.count)", "snaplen": "\(snaplen)",
                    "filter": "\(filter.instructions.count) instructions",
                ])
            session.captureStarted()
        } catch {
            logger.warning("capture refused", metadata: ["reason": "\(error)"])
            session.captureRefused("\(error)")
        }
    }

    private mutating func update(_ instructions: [Instruction]) {
        guard let capture else { return session.filterRefused("no capture is running") }
        do {
            let filter = try Program(checking: instructions)
            do throws(SystemError) {
                try capture.adopt(filter)
            } catch {
                try? capture.adopt(self.filter)
                throw error
            }
            self.filter = filter
            logger.info(
                "filter updated",
                metadata: ["filter": "\(filter.instructions.count) instructions"])
            session.filterUpdated()
        } catch {
            session.filterRefused("\(error)")
        }
    }

    private func statistics() -> CaptureStatistics {
        guard let capture else { return CaptureStatistics() }
        capture.count()
        return capture.counters.statistics
    }

    private mutating func endCapture() {
        guard let capture = capture.take() else { return }
        capture.finish()
        let counters = capture.counters
        logger.info("capture ended", metadata: counters.metadata)
    }
}

extension CaptureCounters {
    /// The counters as RPCAP reports them: what passed the filter counts as received, also where
    /// it was dropped afterwards.
    fileprivate var statistics: CaptureStatistics {
        let refused =
            framesRefused.load(ordering: .relaxed) + framesFilteredOut.load(ordering: .relaxed)
        let matched = framesMatched.load(ordering: .relaxed)
        return CaptureStatistics(
            received: UInt32(truncatingIfNeeded: matched - min(matched, refused)),
            droppedByKernel: UInt32(
                truncatingIfNeeded: framesDroppedByRing.load(ordering: .relaxed)),
            sent: UInt32(truncatingIfNeeded: packetsQueued.load(ordering: .relaxed)))
    }

    /// The counters as one line of the log shows them.
    fileprivate var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = [
            "matched": "\(framesMatched.load(ordering: .relaxed))",
            "sent": "\(packetsQueued.load(ordering: .relaxed))",
            "settled": "\(framesSettled.load(ordering: .relaxed))",
            "refused": "\(framesRefused.load(ordering: .relaxed))",
            "filtered": "\(framesFilteredOut.load(ordering: .relaxed))",
            "dropped": "\(framesDroppedByRing.load(ordering: .relaxed))",
            "abandoned_bytes": "\(bytesAbandoned.load(ordering: .relaxed))",
        ]
        // What most captures never meet is named where it was met.
        let rare: [(String, UInt64)] = [
            ("translated", packetsTranslated.load(ordering: .relaxed)),
            ("fragments", fragments.load(ordering: .relaxed)),
            ("fragments_not_held", fragmentsNotHeld.load(ordering: .relaxed)),
            ("unexplained", framesUnexplained.load(ordering: .relaxed)),
            ("tracking_questions", trackingQuestions.load(ordering: .relaxed)),
            ("tracking_not_asked", trackingQuestionsNotAsked.load(ordering: .relaxed)),
            ("tracking_failures", trackingFailures.load(ordering: .relaxed)),
            ("tracking_overruns", trackingOverruns.load(ordering: .relaxed)),
            ("rings_replaced", ringsReplaced.load(ordering: .relaxed)),
            ("programs_not_replaced", programsNotReplaced.load(ordering: .relaxed)),
            ("flows_evicted", trackedFlowsEvicted.load(ordering: .relaxed)),
        ]
        for (name, count) in rare where count > 0 { metadata[name] = "\(count)" }
        return metadata
    }
}
