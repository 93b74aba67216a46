import Edges
import Metrics
import BPF
import PacketRing
import Addressing
import Linux
import Logging
import Observation
import RPCAP

/// The data path of one capture: from the rings of its edges to its outlet.
///
/// One thread runs it. It takes the blocks that the kernel hands over, has the pipeline put their
/// packets into the send queue, and has the transmitter send that, much at a time. When the queue is full
/// the rings are left alone until the sensor has taken some of it; what does not fit into the rings in the
/// meantime the kernel drops and counts.
final class Forwarder {
    var transmitter: Transmitter
    private let orders: CInt
    let counters: CaptureCounters
    let logger: Logger
    /// Tells the keeper of the rings.
    let notes: (RingEvent) -> Void
    /// By the incarnations of their interfaces.
    var taps: [UInt64: CapturedEdge] = [:]
    /// The edges for which there is no memory.
    var crowd: SharedRing?
    var programs: ProgramPlan
    var pipeline: Pipeline
    private var dropList = ServiceDropList()
    var poller: Poller<UInt64>
    /// The version of the plan that all programs are made from.
    private var placedVersion = 0
    var waitsForSocket = false
    /// The queue had no room for a block: until it has, only the socket is waited for.
    private(set) var isFull = false
    /// Rings are to be closed as soon as they have been drained for the last time.
    private var isClosing = false
    /// The capture's one edge is gone; what its ring holds is still to be forwarded.
    var hasLostItsEdge = false
    /// No program may take the place of the one that lets nothing in.
    private var isFinishing = false
    var transmission: Transmission
    var load = ThreadLoad()
    /// Names and places the thread that sends, and has it watched.
    let prepareTransmitter: @Sendable () -> Watchdog.Heartbeat
    /// When the kernel's counts were taken last.
    private var countedAt = monotonicNanoseconds()

    /// A write of this size costs the kernel no more per byte than a larger one, and what has been
    /// copied is still in the processor's cache.
    static let sendByteCount = 256 << 10

    /// So much of one ring is forwarded before others have their turn, and orders: a megabyte, which
    /// takes less than a millisecond. The poller names a ring that holds more again at once.
    static let blockCountPerTurn = 8

    /// How often the kernel's counts are taken while packets come: far from 2³² of them.
    private static let countNanoseconds: UInt64 = 10_000_000_000

    /// How often rings that are to be closed are looked at. Until one that has a successor is, what
    /// comes has to find room in that.
    private static let closingMilliseconds: CInt = 2

    enum Key {
        static let orders: UInt64 = 0
        static let socket: UInt64 = 1
        static let crowd: UInt64 = 2
        static let firstTap: UInt64 = 3
    }

    /// Why the data path cannot go on.
    struct Failure: Error, CustomStringConvertible {
        let description: String

        static let closed = Self(description: "the peer closed the data connection")
    }

    init(
        _ programs: ProgramPlan, _ pipeline: consuming Pipeline, outlet: consuming sending Outlet,
        _ transmission: Transmission, orders: CInt, counters: CaptureCounters, logger: Logger,
        prepareTransmitter: @escaping @Sendable () -> Watchdog.Heartbeat,
        notes: @escaping (RingEvent) -> Void
    ) throws(SystemError) {
        let poller = try Poller<UInt64>()
        try poller.add(orders, as: Key.orders)
        let transmitter = try Transmitter(outlet)
        if let number = transmitter.number { try poller.add(number, as: Key.socket) }
        self.orders = orders
        self.transmitter = transmitter
        self.transmission = transmission
        self.prepareTransmitter = prepareTransmitter
        self.counters = counters
        self.logger = logger
        self.notes = notes
        self.programs = programs
        self.pipeline = pipeline
        self.poller = poller
    }

    /// Waits for packets, room in the socket or an order, and deals with all but the order. Answers
    /// whether an order has come.
    func turn(milliseconds: CInt) throws -> Bool {
        var hasOrder = false
        if isFull, try !makeRoom(milliseconds: wait(milliseconds), hasOrder: &hasOrder) {
            pipeline.attend()
            return hasOrder
        }
        let readyCount = try poller.wait(milliseconds: wait(milliseconds))
        pipeline.attend()
        for index in 0..<readyCount {
            switch poller.key(at: index) {
            case Key.orders: hasOrder = true
            case Key.socket: try attendOutlet(hasFailed: poller.hasFailed(at: index))
            case Key.crowd: if let crowd { try drain(crowd, blockCountMax: blockCountMax) }
            case let key:
                guard let tap = taps[key - Key.firstTap] else { continue }
                // The error of an interface that goes down; whether it is gone, the node's events say.
                if poller.hasFailed(at: index) { _ = try tap.ring?.takePendingError() }
                try drain(tap, blockCountMax: blockCountMax)
            }
        }
        if isClosing, !isFull { isClosing = try closeRings() }
        let now = monotonicNanoseconds()
        if !isFinishing {
            replacePrograms(now)
            try attendTransmission(now)
        }
        try send()
        counters.queueBytes.set(
            pipeline.writer.queue.byteCount + transmitter.waitingByteCount)
        if now >= countedAt + Self.countNanoseconds { try countKernel() }
        return hasOrder
    }

    /// Whether nothing will ever come any more.
    var isOver: Bool { hasLostItsEdge && taps.isEmpty }

    /// Has rings closed when they have been drained for the last time.
    func closeSoon() { isClosing = true }

    /// The shorter of a time to wait, where negative is for ever, and until something is due.
    private func wait(_ milliseconds: CInt) -> CInt {
        let closing: CInt? = isClosing ? Self.closingMilliseconds : nil
        let due = min(
            closing ?? pipeline.turnMilliseconds ?? .max, transmitter.dueMilliseconds ?? .max)
        guard due < .max else { return milliseconds }
        return milliseconds < 0 ? due : min(milliseconds, due)
    }

    /// At the end nothing more comes in, so all that is there goes out.
    private var blockCountMax: Int { isFinishing ? .max : Self.blockCountPerTurn }

    /// Has packets go there from now on; those that have waited first. Only the first outlet counts.
    func attach(_ outlet: consuming sending Outlet) throws {
        guard transmitter.isAwaited, let number = outlet.number else { return }
        try poller.add(number, as: Key.socket)
        transmitter = try Transmitter(outlet)
        try send()
    }

    private func attendOutlet(hasFailed: Bool) throws {
        guard try transmitter.attend(hasFailed: hasFailed, counters) else { throw Failure.closed }
    }

    /// Waits for the sensor to take some of a full queue. Answers whether there is room again.
    private func makeRoom(milliseconds: CInt, hasOrder: inout Bool) throws -> Bool {
        let ready = try poll(
            [
                (transmitter.number ?? -1, transmitter.interest),
                (isFinishing ? -1 : orders, .readable),
            ],
            milliseconds: milliseconds)
        hasOrder = ready[1].contains(.readable)
        if !ready[0].isDisjoint(with: [.failed, .readable]) {
            try attendOutlet(hasFailed: !ready[0].isDisjoint(with: .failed))
        }
        try send()
        guard pipeline.hasRoom(forBlock: Ring.blockByteCount) else { return false }
        isFull = false
        return true
    }

    /// Forwards what a ring holds, as far as the queue has room, and at most so many blocks of it.
    func drain(_ tap: CapturedEdge, blockCountMax: Int = .max) throws {
        var blockCount = 0
        while blockCount < blockCountMax, try hasRoom() {
            if tap.isPressed() { notes(.pressed(incarnation: tap.place.incarnation)) }
            guard let block = tap.ring?.next() else { return tap.isDrained() }
            blockCount += 1
            if tap.isShared {
                forwardShared(block, tap)
            } else {
                let count = pipeline.forward(
                    block, from: tap.place.point, tap.account, isDecided: tap.isDecided,
                    isFiltered: tap.isFiltered)
                tap.hasRead(count)
            }
            if pipeline.writer.queue.byteCount >= Self.sendByteCount { try send() }
        }
    }
}

extension Forwarder {
    private func drain(_ crowd: SharedRing, blockCountMax: Int = .max) throws {
        var blockCount = 0
        while blockCount < blockCountMax, try hasRoom() {
            guard let block = crowd.ring.next() else { return }
            blockCount += 1
            pipeline.forward(block, from: crowd.points, crowd.account)
            if pipeline.writer.queue.byteCount >= Self.sendByteCount { try send() }
        }
    }

    /// Whether the queue has room for a block, if need be after some of it has been sent.
    private func hasRoom() throws -> Bool {
        if pipeline.hasRoom(forBlock: Ring.blockByteCount) { return true }
        try send()
        isFull = !pipeline.hasRoom(forBlock: Ring.blockByteCount)
        return !isFull
    }

    /// Sends what the outlet takes, and asks to be told when it takes more.
    private func send() throws {
        guard pipeline.writer.queue.byteCount > 0 || waitsForSocket || isFinishing else { return }
        let takesMore = try transmitter.send(
            from: &pipeline.writer.queue, isLast: isFinishing, counters)
        guard takesMore == waitsForSocket, let number = transmitter.number else { return }
        waitsForSocket = !takesMore
        guard transmitter.interest == .writable else { return }
        try poller.setInterest(
            of: number, as: Key.socket, to: waitsForSocket ? [.readable, .writable] : .readable)
    }

    /// Whether something waits that somebody is there to take.
    private var hasUnsent: Bool {
        !transmitter.isAwaited
            && (pipeline.writer.queue.byteCount + transmitter.waitingByteCount > 0 || isFull)
    }

    /// Has the client get another part of the packets.
    func adopt(_ sampling: Sampling) { pipeline.set(sampling) }

    /// Puts another filter in force, edge by edge, each between two packets. If the kernel refuses
    /// a program, the error is thrown and the programs before it stay replaced, so the caller puts
    /// the old filter back.
    func adopt(_ filter: Program?) throws(SystemError) {
        programs.set(filter)
        do throws(Ring.Failure) {
            for tap in taps.values { try tap.adopt(&programs) }
        } catch {
            throw error.systemError
        }
        pipeline.set(filter)
    }

    /// Has the programs drop what has been learned about services: a few edges at a time, or all at
    /// once where they drop too much.
    private func replacePrograms(_ now: UInt64) {
        let isUrgent = dropList.refresh(
            at: pipeline.slowPath.services, edgeCount: taps.count, now: now)
        programs.set(dropList.services)
        guard programs.version != placedVersion else { return }
        let stale = taps.values.lazy.filter { [version = programs.version] tap in
            tap.planVersion != version && tap.endedAt == nil
        }
        let some = Array(stale.prefix(isUrgent ? taps.count : ServiceDropList.edgeCountPerTurn))
        for tap in some { adopt(tap) }
        guard some.count < ServiceDropList.edgeCountPerTurn else { return }
        placedVersion = programs.version
        dropList.markInstalled()
    }

    /// Adds to the counters what the kernel has counted since the last time. Its own have 32 bits, so
    /// they may not be left alone for long.
    func countKernel() throws(SystemError) {
        countedAt = monotonicNanoseconds()
        for tap in taps.values { try count(tap) }
        if let crowd { count(try crowd.ring.takeStatistics(), crowd.account) }
    }

    /// Lets no more packets in, and forwards those that are in the rings or the queue, for as long
    /// as the time allows. The connection ends with this object.
    func finish(milliseconds: Int) throws {
        let deadline = monotonicNanoseconds() + UInt64(milliseconds) * 1_000_000
        isFinishing = true
        // Nobody carries out orders any more.
        try? poller.remove(orders)
        endTaps()
        // What is in a block that is not full comes when the kernel retires it.
        let retirement = monotonicNanoseconds() + Ring.retirementNanosecondsMax
        try flush(from: retirement, to: deadline)
        for tap in taps.values { try drainForGood(tap) }
        if let crowd { try drain(crowd) }
        pipeline.attend(isLast: true)
        try send()
        try flush(from: 0, to: deadline)
    }

    /// Forwards until then, and for as long as something is left to send.
    private func flush(from begin: UInt64, to deadline: UInt64) throws {
        while true {
            let now = monotonicNanoseconds()
            guard now < deadline, now < begin || hasUnsent else { return }
            let rest = CInt((min(deadline, max(begin, now + 1_000_000)) - now) / 1_000_000)
            _ = try turn(milliseconds: max(1, min(rest, 10)))
        }
    }

    private func endTaps() {
        for tap in taps.values { tap.end() }
        if crowd?.isEmpty == false { try? crowd?.set([]) }
    }

    /// Brings the counters to their last values: what is still in the rings or in the queue is lost.
    /// Where the data path has failed this waits until the kernel has retired all blocks.
    func settleAccounts() {
        abandonQueue()
        pipeline.abandonHeld { abandon(1, $0) }
        endTaps()
        let endedAt = (taps.values.compactMap(\.endedAt) + [crowd?.changedAt ?? 0]).max() ?? 0
        sleep(until: endedAt + Ring.retirementNanosecondsMax)
        for tap in taps.values { abandon(tap) }
        guard let crowd else { return }
        while let count = crowd.ring.skipBlock() { abandon(count, crowd.account) }
        if let statistics = try? crowd.ring.takeStatistics() { count(statistics, crowd.account) }
        close(crowd.account, SharedRing.name, SharedRing.incarnation)
    }

    private func abandon(_ tap: CapturedEdge) {
        while true {
            while let count = skipBlock(tap) { abandon(count, tap.account) }
            try? count(tap)
            guard tap.hasSuccessor else { break }
            do { try replaceRing(of: tap) } catch { keepRing(of: tap) }
        }
        close(tap.account, tap.place.name, tap.place.incarnation)
    }

    private func abandon(_ count: Int, _ account: FrameCounters) {
        account.add(count, to: .abandoned)
        counters.frames.add(count, to: .abandoned)
    }
}
