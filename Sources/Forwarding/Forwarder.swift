import Addressing
import BPF
import Edges
import Linux
import Logging
import Metrics
import Observation
import PacketRing
import RPCAP
import Settings
import Time

/// The data path of a capture: from the rings of its edges to the data connections of its sessions.
///
/// One thread runs it. It takes the blocks that the kernel hands over, has the pipeline write their
/// packets into the send queue, and has the sender send that, much at a time. When the queue has been
/// full, edges share what room there is (`Pressure`); what then finds no room in the rings the kernel
/// drops and counts. If there are several sessions the pipeline writes for all of them at once, and each
/// outlet takes a copy, or drops it.
final class Forwarder {
    /// What the forwarder does.
    enum Phase {
        /// It reads rings as they fill.
        case running
        /// Its only edge is gone; it forwards what the ring still holds.
        case losingEdge
        /// It lets nothing more in, and forwards what is there.
        case finishing
    }

    private(set) var phase = Phase.running
    /// Whether the queue had no room for a block: until it has, only the socket is waited for.
    var isQueueFull = false
    /// How edges share the queue since it was full; nil if it has not been lately.
    var pressure: Pressure?
    var pressureLog = PressureLog()
    var pacer = TurnPacer()
    /// The size of the block for which the queue has or had to have room.
    var blockByteCount = Int(Ring.Shape.blockByteCountMin)
    /// The edges that have a ring, by the incarnations of their interfaces.
    var edges: [UInt64: CapturedEdge] = [:]
    /// The edges whose ring is closed or replaced once it has been read.
    var closing: Set<UInt64> = []
    /// The ring of all edges for which there is no memory.
    var sharedRing: SharedRing?
    var programs: ProgramPlan
    var pipeline: Pipeline
    /// The sessions' parts of the capture.
    var outlets: [Outlet]
    /// The outlets that only send what waits.
    var flushing: [Outlet] = []
    /// What the pipeline has written for several outlets.
    var stage: ByteQueue
    let settings: CaptureSettings
    var poller: Poller<UInt64>
    let commands: Mailbox<Command>
    let manager: RingManager
    let counters: CaptureCounters
    let logger: Logger
    var dropList = ServiceDropList()
    /// The version of the plan that all programs are made from.
    var installedVersion = 0
    /// How long an edge is watched before it is found silent.
    let silenceTime: Duration
    /// When edges are looked at next that may have fallen silent.
    var silencesAt = MonotonicTime.zero
    /// The length of a pause between turns.
    var pause = Duration.zero
    /// When the poller is asked next, though rings are looked at without it.
    private var pollsAt = MonotonicTime.zero
    /// When the kernel's counts are taken next.
    var countsAt: MonotonicTime
    /// Whether this turn may have left blocks in a ring, so that answers may be in them.
    var isBehind = false
    /// When a turn began that left no block in any ring.
    private var caughtUpAt = MonotonicTime.zero
    /// When the forwarder fell behind; nil if it has caught up.
    var behindSince: MonotonicTime?

    /// The most bytes of one ring that are forwarded before others, and commands, have their turn: one
    /// block at least.
    ///
    /// A megabyte takes less than a millisecond. A ring that holds more has its next turn at once, since
    /// the poller reports it again.
    private static let byteCountPerTurn = 1 << 20

    /// How often the poller is asked while rings are looked at without it: it reports peers and
    /// interfaces that are gone.
    private static let pollInterval = Duration.milliseconds(50)

    /// How often the kernel's counts are taken while packets come: they have 32 bits.
    static let countInterval = Duration.seconds(10)

    /// How often rings that are to be closed are looked at.
    ///
    /// Until an old ring is given up, what comes must find room in the new one.
    private static let closingInterval = Duration.milliseconds(2)

    /// The shortest wait for requests that expire, so that many of them expire together.
    private static let expiryInterval = Duration.milliseconds(10)

    /// The longest time that requests wait for blocks that were left unread.
    private static let behindTimeMax = Duration.seconds(1)

    /// The time that is left for what is queued when the capture ends.
    static let finishTime = Duration.seconds(1)

    /// The poller's names for what it waits for; an edge's is its incarnation after `firstEdge`, and an
    /// outlet's its own key, which is above all of these.
    enum Key {
        static let commands: UInt64 = 0
        static let sharedRing: UInt64 = 2
        static let firstEdge: UInt64 = 3
        /// Above the incarnations of all edges, which are counted from 1.
        static let firstOutlet: UInt64 = 1 << 63
    }

    /// Prepares a forwarder, which begins with `run`.
    init(
        _ programs: ProgramPlan, _ pipeline: consuming Pipeline, _ outlet: Outlet,
        _ settings: CaptureSettings, commands: Mailbox<Command>, manager: RingManager,
        counters: CaptureCounters, silenceTime: Duration, logger: Logger
    ) throws(SystemError) {
        let poller = try Poller<UInt64>()
        try poller.add(commands.fileDescriptor, as: Key.commands)
        if let socket = outlet.sender.fileDescriptor { try poller.add(socket, as: outlet.key) }
        stage = try ByteQueue(byteCountMax: settings.queueByteCountMax)
        outlet.counters.join(counters)
        outlets = [outlet]
        self.settings = settings
        self.commands = commands
        self.manager = manager
        self.counters = counters
        self.silenceTime = silenceTime
        self.logger = logger
        self.programs = programs
        self.pipeline = pipeline
        self.poller = poller
        countsAt = .now + Self.countInterval
    }

    /// Forwards packets until the command to finish, or until the capture ends by itself.
    ///
    /// The outlets have been told why then.
    func run(_ heartbeat: borrowing Watchdog.Heartbeat) {
        var reason: CaptureEnd?
        do throws(SendFailure) {
            while phase != .finishing {
                try turn(within: Watchdog.waitMax)
                heartbeat.beat()
                if phase == .losingEdge, edges.isEmpty {
                    reason = .edgeGone
                    phase = .finishing
                }
            }
            try finish(by: .now + Self.finishTime)
        } catch {
            reason = .failed(error)
        }
        closeAccounts()
        for outlet in outlets + flushing { outlet.end(because: reason, isEarly: false) }
    }
}

/// The phases.
extension Forwarder {
    /// The only edge of the capture is gone, and does not come back.
    func beginLosingEdge() {
        if phase == .running { phase = .losingEdge }
    }

    /// Every session leaves: the capture ends.
    func beginFinishing() { phase = .finishing }
}

/// One turn of the loop.
extension Forwarder {
    /// Waits for packets, room in the socket or a command, and deals with all that is there.
    ///
    /// - Parameter limit: The longest time that it waits.
    /// - Throws: If the data connection, or a system call, has failed.
    func turn(within limit: Duration) throws(SendFailure) {
        let time = waitTime(limit)
        var hasCommands = false
        switch try pauseIfWorthwhile(within: time) {
        case .some(let isEnded) where pacer.findsMany && MonotonicTime.now < pollsAt:
            hasCommands = isEnded
            try lookAndDrain()
        case .some: hasCommands = try pollAndDrain(.zero)
        case nil: hasCommands = try pollAndDrain(time)
        }
        guard hasCommands else { return }
        try obey(commands.takeAll())
        // A data connection that has just come takes what has waited for it.
        try send(.now)
    }

    private func pollAndDrain(_ time: Duration) throws(SendFailure) -> Bool {
        guard pressure == nil else { return try turnUnderPressure(within: time) }
        pollsAt = .now + Self.pollInterval
        return try waitAndDrain(milliseconds: time.waitMilliseconds)
    }

    /// The time until something is due, or the limit if that is shorter.
    private func waitTime(_ limit: Duration) -> Duration {
        let now = MonotonicTime.now
        var time = min(limit, max(silencesAt - now, .zero))
        for outlet in outlets { time = outlet.waitTime(time, now: now) }
        for outlet in flushing { time = outlet.waitTime(time, now: now) }
        if !closing.isEmpty { return min(time, Self.closingInterval) }
        if !isQueueFull, let due = pipeline.requestsExpireAt {
            time = min(time, max(due - now, Self.expiryInterval))
        }
        return pipeline.interval.map { min(time, $0) } ?? time
    }

    /// - Returns: Whether commands wait.
    func waitAndDrain(milliseconds: CInt) throws(SendFailure) -> Bool {
        var hasCommands = false
        let readyCount = try pollerResult { poller throws(SystemError) in
            try poller.wait(milliseconds: milliseconds)
        }
        let begin = MonotonicTime.now
        isBehind = !Poller<UInt64>.isAll(readyCount)
        write { $0.attend(into: &$1, now: begin) }
        for index in 0..<readyCount {
            switch poller.key(at: index) {
            case Key.commands: hasCommands = true
            case let key where key > Key.firstOutlet:
                try attendToSocket(of: key, hasFailed: poller.hasFailed(at: index))
            case let key:
                if poller.hasFailed(at: index) { try takePendingError(of: key) }
                if pressure == nil {
                    try drain(key: key, byteCountPerTurn)
                } else {
                    pressure?.waitingKeys.append(key)
                }
            }
        }
        if pressure != nil { try drainFairly() }
        if !closing.isEmpty { try advanceClosing() }
        try endTurn(begin)
        return hasCommands
    }

    /// Does what is due after rings have been read.
    ///
    /// - Parameter begin: When the turn began to read them.
    /// - Throws: If a data connection, or a system call, has failed.
    func endTurn(_ begin: MonotonicTime) throws(SendFailure) {
        let expiryTime = expiryTime(begin)
        write { $0.expireRequests(into: &$1, now: expiryTime) }
        let now = MonotonicTime.now
        if phase != .finishing {
            replacePrograms(now)
            try balanceSenders(now)
        }
        try send(now)
        try noteProgress(now)
    }

    /// Brings gauges and counts up to date that nothing else changes.
    func noteProgress(_ now: MonotonicTime) throws(SendFailure) {
        for outlet in outlets { outlet.noteProgress() }
        for outlet in flushing { outlet.noteProgress() }
        try attendToOutlets(now)
        counters.framesHeld.set(pipeline.heldCount)
        for notice in pipeline.serviceNotices(now: now) {
            logger.log(level: notice.level, "\(notice.text)", metadata: notice.metadata)
        }
        lookForSilence(now)
        guard now >= countsAt else { return }
        try SendFailure.rethrowing { () throws(SystemError) in try countKernel(now) }
    }

    /// The time up to which requests expire: their answers, if there are any, have been read.
    private func expiryTime(_ begin: MonotonicTime) -> MonotonicTime {
        guard isBehind else {
            (caughtUpAt, behindSince) = (begin, nil)
            return begin
        }
        let since = behindSince ?? begin
        behindSince = since
        return begin - since > Self.behindTimeMax ? begin : caughtUpAt
    }

    /// The most bytes of one ring that are forwarded in a turn.
    ///
    /// At the end nothing more comes in, so everything goes out.
    var byteCountPerTurn: Int { phase == .finishing ? .max : Self.byteCountPerTurn }

    /// Forwards what the ring of a key holds, as far as the queue has room.
    ///
    /// - Parameters:
    ///   - key: The key.
    ///   - byteCountMax: The most bytes, but for one block.
    /// - Returns: What the ring still holds.
    /// - Throws: If the data connection, or a system call, has failed.
    @discardableResult
    func drain(key: UInt64, _ byteCountMax: Int) throws(SendFailure) -> RingRest {
        if key == Key.sharedRing {
            guard let sharedRing else { return .empty }
            return try drain(sharedRing, max(1, byteCountMax / sharedRing.ring.blockByteCount))
        }
        guard let edge = edges[key - Key.firstEdge] else { return .empty }
        return try drain(edge, byteCountMax: byteCountMax)
    }

    @discardableResult
    func drain(_ edge: CapturedEdge, byteCountMax: Int) throws(SendFailure) -> RingRest {
        try drain(edge, max(1, byteCountMax / edge.blockByteCount))
    }

    @discardableResult
    func drain(_ edge: CapturedEdge, _ blockCountMax: Int = .max) throws(SendFailure) -> RingRest {
        for index in 0..<blockCountMax {
            guard
                try makeRoomForBlock(
                    of: edge.blockByteCount, from: Key.firstEdge + edge.incarnation,
                    isLast: edge.isLeaving || edge.isBeingSucceeded)
            else {
                isBehind = true
                return .noRoom
            }
            let now = MonotonicTime.now
            if pressure == nil, let why = edge.takePressure(afterBlocks: index, now: now) {
                manager.post(.pressed(incarnation: edge.incarnation, why))
            }
            guard let block = edge.ring?.next() else {
                edge.noteDrained(now: now)
                return .empty
            }
            if let byteCount = block.cutPacketByteCount,
                let largest = edge.takeCut(byteCount, now: now)
            {
                manager.post(.cut(incarnation: edge.incarnation, byteCount: largest))
            }
            let context = edge.context
            let isReplacing = context.replacement != nil
            let filledByteCount = block.filledByteCount
            if isReplacing { edge.recordBlock(block) }
            let (count, isMuch) = forward(
                block, from: context, as: Key.firstEdge + edge.incarnation, now)
            pacer.recordBlock(
                byteCount: filledByteCount, ofRing: edge.shape.byteCount, lastReadAt: edge.readAt,
                now: now)
            if let pace = edge.recordRead(count, now: now) {
                manager.post(.pace(pace, incarnation: edge.incarnation))
            }
            if isReplacing { countFirstRead(edge) }
            if isMuch { try send(now) }
        }
        isBehind = true
        return .more
    }

    @discardableResult
    func drain(
        _ sharedRing: SharedRing, _ blockCountMax: Int = .max
    ) throws(SendFailure) -> RingRest {
        for _ in 0..<blockCountMax {
            guard
                try makeRoomForBlock(
                    of: sharedRing.ring.blockByteCount, from: Key.sharedRing, isLast: false)
            else {
                isBehind = true
                return .noRoom
            }
            guard let block = sharedRing.ring.next() else { return .empty }
            let now = MonotonicTime.now
            if let byteCount = block.cutPacketByteCount, sharedRing.takeFirstCut() {
                manager.post(.cut(incarnation: SharedRing.incarnation, byteCount: byteCount))
            }
            let filledByteCount = block.filledByteCount
            let (_, isMuch) = forward(block, from: sharedRing.context, as: Key.sharedRing, now)
            pacer.recordBlock(
                byteCount: filledByteCount, ofRing: sharedRing.ring.byteCount, lastReadAt: now,
                now: now)
            if isMuch { try send(now) }
        }
        isBehind = true
        return .more
    }

    /// Takes the error of an interface that went down; the node's events say whether it is gone.
    private func takePendingError(of key: UInt64) throws(SendFailure) {
        guard key >= Key.firstEdge, let edge = edges[key - Key.firstEdge] else { return }
        try SendFailure.rethrowing { () throws(SystemError) in
            _ = try edge.ring?.takePendingError()
        }
    }
}

/// The poller.
extension Forwarder {
    /// Calls the poller, whose errors end the data path.
    func pollerResult<Result>(
        _ body: (inout Poller<UInt64>) throws(SystemError) -> Result
    ) throws(SendFailure) -> Result {
        do throws(SystemError) {
            return try body(&poller)
        } catch {
            throw .system(error)
        }
    }
}
