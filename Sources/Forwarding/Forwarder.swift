import Addressing
import BPF
import Edges
import Linux
import Logging
import Metrics
import Observation
import PacketRing
import RPCAP
import Time

/// The data path of one capture: from the rings of its edges to the data connection.
///
/// One thread runs it. It takes the blocks that the kernel hands over, has the pipeline write their
/// packets into the send queue, and has the sender send that, much at a time. When the queue has been
/// full, edges share what room there is (`Pressure`); what then finds no room in the rings the kernel
/// drops and counts.
final class Forwarder {
    /// What another thread tells the forwarder, which obeys between two turns.
    enum Command: Sendable {
        /// The ring manager has opened, closed or replaced a ring.
        case ring(RingCommand)
        /// The data connection is there.
        case attach(TransferBox<DataConnection>)
        /// Send another part of the packets.
        case sample(Sampling)
        /// Install another filter, and reply whether the kernel takes it.
        case filter(Program?, Reply)
        /// Bring the counters up to date with the kernel's, and reply.
        case count(Reply)
        /// The same, with a closure that is called afterwards.
        case countThen(@Sendable () -> Void)
        /// Stop: forward what is there, and end.
        case finish
    }

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
    var sender: Sender
    var poller: Poller<UInt64>
    let commands: Mailbox<Command>
    let manager: RingManager
    let counters: CaptureCounters
    let logger: Logger
    var dropList = ServiceDropList()
    /// The version of the plan that all programs are made from.
    var installedVersion = 0
    /// When the kernel's counts are taken next.
    var countsAt: MonotonicTime
    /// Whether this turn may have left blocks in a ring, so that answers may be in them.
    var isBehind = false
    /// When a turn began that left no block in any ring.
    private var caughtUpAt = MonotonicTime.zero
    /// When the forwarder fell behind; nil if it has caught up.
    var behindSince: MonotonicTime?

    /// The most blocks of one ring that are forwarded before others, and commands, have their turn.
    ///
    /// That is a megabyte, which takes less than a millisecond. The poller names a ring that holds more
    /// again at once.
    static let blockCountPerTurn = 8

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

    /// The poller's names for what it waits for; an edge's is its incarnation after `firstEdge`.
    enum Key {
        static let commands: UInt64 = 0
        static let socket: UInt64 = 1
        static let sharedRing: UInt64 = 2
        static let firstEdge: UInt64 = 3
    }

    /// Prepares a forwarder, which begins with `run`.
    init(
        _ programs: ProgramPlan, _ pipeline: consuming Pipeline, _ sender: consuming Sender,
        commands: Mailbox<Command>, manager: RingManager, counters: CaptureCounters,
        logger: Logger
    ) throws(SystemError) {
        let poller = try Poller<UInt64>()
        try poller.add(commands.fileDescriptor, as: Key.commands)
        if let socket = sender.fileDescriptor { try poller.add(socket, as: Key.socket) }
        self.commands = commands
        self.manager = manager
        self.counters = counters
        self.logger = logger
        self.programs = programs
        self.pipeline = pipeline
        self.sender = sender
        self.poller = poller
        countsAt = .now + Self.countInterval
    }

    /// Forwards packets until the command to finish, or until the capture ends by itself.
    ///
    /// - Returns: Why it ended by itself; nil if it was told to.
    func run(_ heartbeat: borrowing Watchdog.Heartbeat) -> CaptureEnd? {
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
        return reason
    }
}

/// One turn of the loop.
extension Forwarder {
    /// Waits for packets, room in the socket or a command, and deals with all that is there.
    ///
    /// - Parameter limit: The longest time that it waits.
    /// - Throws: If the data connection, or a system call, has failed.
    func turn(within limit: Duration) throws(SendFailure) {
        var time = waitTime(limit)
        if try pauseIfWorthwhile(within: time) { time = waitTime(limit) }
        let hasCommands =
            pressure == nil
            ? try waitAndDrain(milliseconds: time.waitMilliseconds)
            : try turnUnderPressure(within: time)
        guard hasCommands else { return }
        try obey(commands.takeAll())
        // A data connection that has just come takes what has waited for it.
        try send(.now)
    }

    /// The time until something is due, or the limit if that is shorter.
    private func waitTime(_ limit: Duration) -> Duration {
        var time = limit
        if let due = sender.dueAt { time = min(time, due - .now) }
        if !closing.isEmpty { return min(time, Self.closingInterval) }
        if !isQueueFull, let due = pipeline.requestsExpireAt {
            time = min(time, max(due - .now, Self.expiryInterval))
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
        pipeline.attend(into: &sender.queue, now: begin)
        for index in 0..<readyCount {
            switch poller.key(at: index) {
            case Key.commands: hasCommands = true
            case Key.socket: try attendToSocket(hasFailed: poller.hasFailed(at: index))
            case let key:
                if poller.hasFailed(at: index) { try takePendingError(of: key) }
                if pressure == nil {
                    try drain(key: key, blockCountPerTurn)
                } else {
                    pressure?.waitingKeys.append(key)
                }
            }
        }
        if pressure != nil { try drainFairly() }
        if !closing.isEmpty { try advanceClosing() }
        pipeline.expireRequests(into: &sender.queue, now: expiryTime(begin))
        let now = MonotonicTime.now
        if phase != .finishing {
            replacePrograms(now)
            try balanceSender(now)
        }
        try send(now)
        try noteProgress(now)
        return hasCommands
    }

    /// Brings gauges and counts up to date that nothing else changes.
    func noteProgress(_ now: MonotonicTime) throws(SendFailure) {
        counters.queueBytes.set(sender.unsentByteCount)
        sender.countSent()
        counters.framesHeld.set(pipeline.heldCount)
        for notice in pipeline.serviceNotices(now: now) {
            logger.log(level: notice.level, "\(notice.text)", metadata: notice.metadata)
        }
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

    /// At the end nothing more comes in, so everything goes out.
    private var blockCountPerTurn: Int { phase == .finishing ? .max : Self.blockCountPerTurn }

    /// Forwards what the ring of a key holds, as far as the queue has room.
    @discardableResult
    func drain(key: UInt64, _ blockCountMax: Int) throws(SendFailure) -> RingRest {
        if key == Key.sharedRing {
            guard let sharedRing else { return .empty }
            return try drain(sharedRing, blockCountMax)
        }
        guard let edge = edges[key - Key.firstEdge] else { return .empty }
        return try drain(edge, blockCountMax)
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
            if pressure == nil, edge.takePressure(afterBlocks: index, now: now) {
                manager.post(.pressed(incarnation: edge.incarnation))
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
            let (count, isMuch) = Self.forward(
                block, from: context, through: &pipeline, to: &sender, now)
            pacer.recordBlock(
                byteCount: filledByteCount, ofRing: edge.ringByteCount, lastReadAt: edge.readAt,
                now: now)
            edge.recordRead(count, now: now)
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
            let (_, isMuch) = Self.forward(
                block, from: sharedRing.context, through: &pipeline, to: &sender, now)
            pacer.recordBlock(
                byteCount: filledByteCount, ofRing: sharedRing.ring.byteCount, lastReadAt: now,
                now: now)
            if isMuch { try send(now) }
        }
        isBehind = true
        return .more
    }

    /// Forwards a block with one access to each of the members, which costs less than several.
    ///
    /// - Returns: The number of packets in the block, and whether it is time to send.
    private static func forward(
        _ block: borrowing Block, from edge: EdgeContext, through pipeline: inout Pipeline,
        to sender: inout Sender, _ now: MonotonicTime
    ) -> (count: Int, isMuch: Bool) {
        let count = pipeline.forward(block, from: edge, into: &sender.queue, now: now)
        return (count, sender.queue.byteCount >= Sender.sendByteCount)
    }

    /// Takes the error of an interface that went down; the node's events say whether it is gone.
    private func takePendingError(of key: UInt64) throws(SendFailure) {
        guard key >= Key.firstEdge, let edge = edges[key - Key.firstEdge] else { return }
        try SendFailure.rethrowing { () throws(SystemError) in
            _ = try edge.ring?.takePendingError()
        }
    }
}

/// The send queue.
extension Forwarder {
    /// Sends what the socket takes, and has the poller report when it takes more.
    func send(_ now: MonotonicTime) throws(SendFailure) {
        try waitForSocket(try sender.send(isLast: phase == .finishing, now: now))
    }

    func attendToSocket(hasFailed: Bool) throws(SendFailure) {
        try waitForSocket(try sender.attend(hasFailed: hasFailed))
    }

    private func waitForSocket(_ interest: Readiness?) throws(SendFailure) {
        guard let interest, let socket = sender.fileDescriptor else { return }
        try pollerResult { poller throws(SystemError) in
            try poller.setInterest(of: socket, as: Key.socket, to: interest)
        }
    }

    /// Has a second thread send, or no longer, and waits for the other descriptor then.
    func balanceSender(_ now: MonotonicTime) throws(SendFailure) {
        let change = sender.balance(now: now, isPressed: pressure != nil) {
            .nanoseconds(clamping: threadNanoseconds())
        }
        guard let (before, after) = change else { return }
        try pollerResult { poller throws(SystemError) in
            try poller.remove(before)
            try poller.add(after, as: Key.socket)
        }
    }

    /// Whether packets wait to be sent, and a connection is there.
    var hasUnsent: Bool { !sender.isAwaited && (sender.unsentByteCount > 0 || isQueueFull) }

    /// Calls the poller, whose errors end the data path.
    private func pollerResult<Result>(
        _ body: (inout Poller<UInt64>) throws(SystemError) -> Result
    ) throws(SendFailure) -> Result {
        do throws(SystemError) {
            return try body(&poller)
        } catch {
            throw .system(error)
        }
    }
}

/// Commands.
extension Forwarder {
    private func obey(_ commands: [Command]) throws(SendFailure) {
        for command in commands {
            try SendFailure.rethrowing { () throws(SystemError) in try obey(command) }
        }
    }

    private func obey(_ command: Command) throws(SystemError) {
        switch command {
        case .finish: phase = .finishing
        case .ring(let command): try obey(command)
        case .attach(let connection):
            if let connection = connection.take() { try attach(connection) }
        case .sample(let sampling): pipeline.set(sampling)
        case .filter(let filter, let reply):
            reply.give(error { () throws(SystemError) in try adopt(filter) })
        case .count(let reply):
            reply.give(error { () throws(SystemError) in try countKernel(.now) })
        case .countThen(let done):
            // If that fails the next turn finds out.
            try? countKernel(.now)
            done()
        }
    }

    /// The only edge of the capture is gone, and does not come back.
    func beginLosingEdge() {
        if phase == .running { phase = .losingEdge }
    }

    private func error(of body: () throws(SystemError) -> Void) -> SystemError? {
        do throws(SystemError) {
            try body()
            return nil
        } catch {
            return error
        }
    }
}
