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
        do {
            let filter = try Program(checking: request.filter)
            let isUDP = request.flags.contains(.udp)
            // Nothing is captured before the programs know the connection they must not show.
            let outlet = try outlet(for: request)
            let snaplen = min(request.snaplen, context.settings.snaplen)
            let plan = CapturePlan(
                feed: context.feed, tracksConnections: context.tracksConnections, filter: filter,
                snaplen: snaplen,
                ringByteCountMax: context.settings.ringByteCountMax,
                queueByteCountMax: context.settings.queueByteCountMax,
                datagramFormat: isUDP ? .udpstr : nil)
            capture = try LiveCapture(plan, to: outlet, logger: logger)
            self.filter = filter
            logger.info(
                "capture started",
                metadata: [
                    "edges": "\(context.feed.snapshot.places.count)", "snaplen": "\(snaplen)",
                    "filter": "\(filter.instructions.count) instructions",
                ])
            session.captureStarted(bufferByteCount: isUDP ? Self.datagramBufferByteCount : 0)
        } catch {
            logger.warning("capture refused", metadata: ["reason": "\(error)"])
            session.captureRefused("\(error)")
        }
    }

    /// How large a client is to make its receive buffer for datagrams, which nothing holds back
    /// when it is late: as much as comes in 60 ms at a gigabit.
    private static let datagramBufferByteCount: UInt32 = 8 << 20

    private func outlet(for request: StartRequest) throws(SystemError) -> sending Outlet {
        let peer = connection.peer.with(port: request.dataPort)
        if request.flags.contains(.udp) {
            return .datagrams(
                try DatagramStream(
                    to: peer, as: .udpstr, readTimeoutMilliseconds: request.readTimeoutMilliseconds)
            )
        }
        let data = try Connection(
            to: peer, milliseconds: Self.dataConnectMillisecondsMax, cancel: context.stop)
        try data.watchPeer()
        return .stream(data.intoDescriptor())
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
    /// it was dropped afterwards. Each is a sum of counts that only grow, so none ever goes back;
    /// what is on its way through a ring counts when it comes out.
    fileprivate var statistics: CaptureStatistics {
        let sent = packetsQueued.load(ordering: .relaxed)
        let dropped = framesDroppedByRing.load(ordering: .relaxed)
        let received = sent + dropped + framesSampledOut.load(ordering: .relaxed)
        return CaptureStatistics(
            received: UInt32(truncatingIfNeeded: received),
            droppedByKernel: UInt32(truncatingIfNeeded: dropped),
            sent: UInt32(truncatingIfNeeded: sent))
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
            ("sampled_out", framesSampledOut.load(ordering: .relaxed)),
            ("datagrams", datagramsSent.load(ordering: .relaxed)),
            ("datagrams_refused", datagramsRefused.load(ordering: .relaxed)),
            ("datagrams_failed", datagramsFailed.load(ordering: .relaxed)),
            ("datagrams_too_large", datagramsTooLarge.load(ordering: .relaxed)),
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
