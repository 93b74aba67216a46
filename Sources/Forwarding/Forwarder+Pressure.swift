import Linux
import Log
import Logging
import PacketRing
import RPCAP
package import Time

/// A send queue under pressure: it has been full, since the sensor takes less than pods send.
///
/// While it lasts, rings are read block by block, in the order of `FairShares`. Only edges that have
/// had less than their share may use the last part of the queue, the reserve. So the packets of a pod
/// that sends little find room at any time, and what a busy pod sends beyond its share stays in its
/// ring, where the kernel drops what finds no room.
struct Pressure {
    var shares: FairShares
    /// The room that is left to edges that have had less than their share.
    let reserveByteCount: Int
    /// The bytes that had left the queue when they were divided last.
    var leftByteCount: UInt64
    /// The edges that have a block to be read, by their keys.
    var waitingKeys: [UInt64] = []

    /// The part of the queue that is the reserve.
    private static let reserveDivisor = 8
    /// The most credit of an edge, which is about two blocks.
    private static let creditMax = 256 << 10

    /// Begins with a full queue.
    ///
    /// Credits begin small enough for the reserve to hold them all.
    init(
        queueByteCountMax: Int, blockByteCountMax: Int, edgeCount: Int, leftByteCount: UInt64
    ) {
        reserveByteCount = Self.reserveByteCount(
            queueByteCountMax: queueByteCountMax, blockByteCountMax: blockByteCountMax)
        shares = FairShares(creditMax: min(Self.creditMax, reserveByteCount / max(1, edgeCount)))
        self.leftByteCount = leftByteCount
    }
}

extension Pressure {
    /// The size of the reserve, which has room for a block in any case.
    static func reserveByteCount(queueByteCountMax: Int, blockByteCountMax: Int) -> Int {
        max(blockByteCountMax, queueByteCountMax / reserveDivisor)
    }

    /// Divides what has left the queue since the last time.
    ///
    /// - Parameter byteCount: The bytes that have left it since it began.
    mutating func give(leftByteCount byteCount: UInt64) {
        shares.give(byteCount > leftByteCount ? Int(byteCount - leftByteCount) : 0)
        // A second thread hands back what fills no datagram, which then has not left after all.
        leftByteCount = max(byteCount, leftByteCount)
    }
}

/// When a slow peer is worth a line in the log: once a minute at most.
package struct PressureLog {
    /// When the pressure began; nil if there is none.
    private var beganAt: MonotonicTime?
    /// Whether the log says that there is pressure.
    private var isLogged = false
    private var loggedAt: MonotonicTime?

    /// A peer can be a little too slow, so that its queue fills up and empties without end.
    private static let interval = Duration.seconds(60)

    package init() {}

    /// Records that pressure begins, or goes on.
    ///
    /// - Returns: Whether that is to be logged now.
    package mutating func note(now: MonotonicTime) -> Bool {
        beganAt = beganAt ?? now
        if isLogged { return false }
        if let loggedAt, now - loggedAt < Self.interval { return false }
        (isLogged, loggedAt) = (true, now)
        return true
    }

    /// Records that pressure has ended.
    ///
    /// - Returns: How long it lasted, if the log says that there was any.
    package mutating func end(now: MonotonicTime) -> Duration? {
        defer { (beganAt, isLogged) = (nil, false) }
        return isLogged ? beganAt.map { now - $0 } : nil
    }

    /// Logs pressure that begins or goes on, if that is due.
    mutating func log(_ loss: String, _ queueByteCount: Int, now: MonotonicTime, to logger: Logger)
    {
        guard note(now: now) else { return }
        logger.warning(
            "the peer takes less than pods send: what finds no room in \(loss) is dropped",
            metadata: ["queue_bytes": .number(queueByteCount)])
    }

    /// Records that pressure has ended, and logs it if its beginning was logged.
    mutating func logEnd(now: MonotonicTime, to logger: Logger) {
        guard let time = end(now: now) else { return }
        logger.info(
            "the peer keeps up again", metadata: ["seconds": .number(time.components.seconds)])
    }
}

/// What a ring still holds when it has been read for a while.
enum RingRest {
    /// No block.
    case empty
    /// Perhaps more blocks.
    case more
    /// Perhaps more blocks, for which the queue has no room.
    case noRoom
}

/// Turns under pressure.
extension Forwarder {
    /// How often rings are looked at under pressure: more often than their blocks are handed over.
    private static let pressureInterval = Duration.milliseconds(10)

    /// How often the kernel's counts are taken under pressure, when most packets are dropped.
    static let pressureCountInterval = Duration.seconds(1)

    /// The most bytes of blocks that are read before commands have their turn.
    private static let byteCountUnderPressure = 8 << 20

    /// Begins to divide the queue.
    ///
    /// Rings are not replaced meanwhile: a larger one does not help a slow sensor, and of two rings
    /// nobody could say what is lost.
    private func beginPressure(
        _ outlet: Outlet, _ byteCount: Int
    ) throws(SendFailure) {
        pressure = Pressure(
            queueByteCountMax: outlet.sender.queue.byteCountMax, blockByteCountMax: byteCount,
            edgeCount: edges.count, leftByteCount: outlet.leftByteCount)
        let now = MonotonicTime.now
        countsAt = min(countsAt, now + Self.pressureCountInterval)
        logPressure(of: outlet, now)
        for edge in edges.values where edge.hasNewRing && !edge.isLeaving {
            // What it has read must not be more than what the kernel is known to have put there.
            try SendFailure.rethrowing { () throws(SystemError) in try count(edge) }
            cancelReplacement(of: edge, because: .busy)
        }
    }

    private func logPressure(of outlet: Outlet, _ now: MonotonicTime) {
        pressureLog.log("rings", outlet.sender.queue.byteCountMax, now: now, to: outlet.logger)
    }

    /// Waits for room, a command, or the next look at the rings, and deals with all that is there.
    ///
    /// - Returns: Whether commands wait.
    func turnUnderPressure(within limit: Duration) throws(SendFailure) -> Bool {
        if let outlet = sole { logPressure(of: outlet, .now) }
        // If not even the reserve has room there is nothing to look for.
        let wait = isQueueFull ? max(countsAt - .now, .zero) : Self.pressureInterval
        var hasCommands = try waitForRoom(milliseconds: min(limit, wait).waitMilliseconds)
        guard isQueueFull else {
            // The packets in the rings have waited for that room.
            hasCommands = try waitAndDrain(milliseconds: 0) || hasCommands
            endPressureIfPossible()
            return hasCommands
        }
        if !closing.isEmpty { try letGoOfPods() }
        let now = MonotonicTime.now
        if phase != .finishing { try balanceSenders(now) }
        try noteProgress(now)
        return hasCommands
    }

    private func endPressureIfPossible() {
        guard !isQueueFull, let outlet = sole,
            outlet.sender.queue.byteCount <= outlet.sender.queue.byteCountMax / 2
        else { return }
        pressure = nil
        pressureLog.logEnd(now: .now, to: outlet.logger)
    }

    /// Waits for the sensor to take some of a full queue.
    ///
    /// - Returns: Whether commands wait.
    private func waitForRoom(milliseconds: CInt) throws(SendFailure) -> Bool {
        guard let outlet = sole else { return false }
        let ready: [Readiness]
        do throws(SystemError) {
            ready = try poll(
                [
                    // A socket that is not blocked would always be ready.
                    (
                        outlet.sender.isBlocked ? outlet.sender.fileDescriptor ?? -1 : -1,
                        outlet.sender.interest
                    ),
                    (phase == .finishing ? -1 : commands.fileDescriptor, .readable),
                ],
                milliseconds: milliseconds)
        } catch {
            throw .system(error)
        }
        if !ready[0].isDisjoint(with: [.failed, .readable]) {
            try attendToSocket(of: outlet, hasFailed: !ready[0].isDisjoint(with: .failed))
        }
        let now = MonotonicTime.now
        try send(now)
        if hasRoomForBlock(beside: 0) {
            if isQueueFull { behindSince = now }
            isQueueFull = false
        }
        write { $0.attend(into: &$1, now: now) }
        return ready[1].contains(.readable)
    }

    /// Reads the rings that wait, a block at a time, as far as the queue has room.
    func drainFairly() throws(SendFailure) {
        guard var keys = pressure?.waitingKeys, let outlet = sole else { return }
        pressure?.waitingKeys = []
        pressure?.give(leftByteCount: outlet.leftByteCount)
        var readByteCount = 0
        while readByteCount < Self.byteCountUnderPressure {
            guard let index = pressure?.shares.next(among: keys) else { return }
            let key = keys[index]
            let before = outlet.counters.own(.bytesQueued)
            // One block.
            let rest = try drain(key: key, 0)
            // The size is that of the block which has just been looked for.
            readByteCount += blockByteCount
            switch rest {
            case .empty: keys.remove(at: index)
            case .more:
                let byteCount = outlet.counters.own(.bytesQueued) - before
                pressure?.shares.take(Int(byteCount), from: key)
            case .noRoom:
                isBehind = true
                return
            }
        }
        isBehind = true
    }
}

/// Room in the send queue.
extension Forwarder {
    /// Whether the queue has room for a block beside other bytes, or is empty if it could never have.
    private func hasRoomForBlock(beside byteCount: Int) -> Bool {
        // Among others each outlet decides for itself.
        guard let outlet = sole else { return true }
        let needed = pipeline.byteCountMax(ofBlock: blockByteCount) + byteCount
        return outlet.sender.queue.hasRoom(for: min(needed, outlet.sender.queue.byteCountMax))
    }

    /// Makes room in the queue for a block, by sending some of it if need be.
    ///
    /// - Parameters:
    ///   - byteCount: The size of the block.
    ///   - key: The key of the edge that it is from.
    ///   - isLast: Whether the ring is closed once it has been read, so that it may use the reserve.
    /// - Returns: False if there is no room for it.
    /// - Throws: If the data connection, or a system call, has failed.
    func makeRoomForBlock(
        of byteCount: Int, from key: UInt64, isLast: Bool
    ) throws(SendFailure) -> Bool {
        blockByteCount = byteCount
        var reserve = 0
        if let pressure, !isLast, phase != .finishing, pressure.shares.credit(of: key) <= 0 {
            reserve = pressure.reserveByteCount
        }
        if hasRoomForBlock(beside: reserve) { return true }
        try send(.now)
        if hasRoomForBlock(beside: reserve) { return true }
        isQueueFull = !hasRoomForBlock(beside: 0)
        if pressure == nil, let outlet = sole {
            try beginPressure(outlet, pipeline.byteCountMax(ofBlock: byteCount))
        }
        return false
    }
}
