import BPF
import Edges
import Linux
import Observation
import PacketRing
import Time

/// An edge that is captured, and its ring.
///
/// It belongs to the forwarder's thread.
final class CapturedEdge {
    /// What happens to the edge's ring.
    enum Phase {
        /// The ring is read as it fills.
        case reading
        /// A larger or smaller ring takes the place of the present one.
        case replacing(RingReplacement)
        /// The edge is gone: nothing more is let in, and what the ring holds is read.
        ///
        /// A replacement that was under way goes on, since the new ring may have packets of the edge.
        case draining(since: MonotonicTime, RingReplacement?)
        /// The ring has been handed back.
        case closed
    }

    private(set) var edge: Edge { didSet { knownContext = nil } }
    private(set) var phase = Phase.reading { didSet { knownContext = nil } }
    /// Counts what becomes of the edge's frames, through all its rings.
    let counters: EdgeTally
    /// The ring that is read; nil when it has been handed back.
    var ring: Ring?
    /// The ring that takes its place during a replacement.
    private(set) var newRing: Ring?
    /// The program of that ring, if it is at the other end of the pair.
    private var newProgram: EdgeProgram?
    /// The descriptor of `ring`, for the poller.
    private(set) var fileDescriptor: CInt
    /// The shape of `ring`.
    private(set) var shape: Ring.Shape
    /// When a block was read last.
    private(set) var readAt = MonotonicTime.zero
    private(set) var installed: InstalledProgram { didSet { knownContext = nil } }
    /// The context, until something changes of what it is made of.
    private var knownContext: EdgeContext?
    private var lap: LapTimer
    private var talk: TalkMeter
    private var nextPressureAt = MonotonicTime.zero
    private var nextCutAt = MonotonicTime.zero
    /// The longest packet that a block has cut.
    private var cutByteCountMax = 0
    /// The number of packets that have come out of `ring`.
    private var readCount = 0
    /// The number of packets that the kernel has put into `ring`, as far as it has been asked.
    private var putCount = 0

    /// How often it is reported that a ring is too small, since a replacement takes time.
    private static let pressureInterval = Duration.milliseconds(100)

    /// Captures an edge through a ring whose program may be made from another version of the plan.
    init(
        _ edge: Edge, _ ring: consuming Ring, _ program: EdgeProgram, sessionCount: Int,
        silenceTime: Duration, now: MonotonicTime
    ) {
        self.edge = edge
        counters = EdgeTally(sessionCount: sessionCount)
        fileDescriptor = ring.fileDescriptor
        shape = ring.shape
        lap = LapTimer(ring.shape)
        talk = TalkMeter(window: silenceTime, now: now)
        installed = InstalledProgram(
            program, retirementMax: ring.shape.retirementMax, now: now)
        self.ring = .some(ring)
    }

    var incarnation: UInt64 { edge.incarnation }

    /// The size of a block of the ring.
    var blockByteCount: Int { Int(shape.blockByteCount) }

    /// What the pipeline must know of the ring's packets.
    var context: EdgeContext {
        if let knownContext { return knownContext }
        let context = EdgeContext(
            source: .edge(edge.point), counters: counters,
            program: installed.decides ? .decides : .punts,
            filter: installed.includesFilter ? .inKernel : .here,
            replacement: replacement)
        knownContext = context
        return context
    }

    /// Takes over what is known of the edge now; the next `adopt` may install another program.
    func move(to edge: Edge) {
        let edge = edge.captured(at: self.edge.point.side)
        if !edge.point.hasSameProgram(as: self.edge.point) { installed.markStale() }
        self.edge = edge
    }

    /// Whether something else is known of the edge than the capture has taken over.
    func isKnownOtherwise(as edge: Edge) -> Bool {
        self.edge != edge.captured(at: self.edge.point.side)
    }

    /// The edge's point at the other end of its pair.
    private var otherPoint: ObservationPoint {
        edge.point.captured(at: edge.point.side == .host ? .pod : .host)
    }

    /// Records that user space goes by another rule from now on, of which programs come out differently.
    func noteOtherRule() { installed.markStale() }
}

/// Programs.
extension CapturedEdge {
    /// Whether the edge lacks the program of a version of the plan.
    func needsProgram(_ version: Int) -> Bool { installed.planVersion != version && !isLeaving }

    /// Installs the plan's program, between two packets.
    ///
    /// For a moment the old and the new program count against the kernel's limit for a socket. If
    /// that is too much, the smallest program takes the old one's place first. If the new program
    /// alone is too much, the plan makes shorter ones.
    func adopt(_ plan: inout ProgramPlan) throws(Ring.Failure) {
        guard needsProgram(plan.version) else { return }
        var next = plan.program(at: edge.point)
        while next != installed.program {
            if try install(next, plan) { break }
            if installed.program == .undecided {
                plan.shrink(below: next)
                next = plan.program(at: edge.point)
            } else if try !install(.undecided, plan) {
                throw .programTooLarge
            }
        }
        installed.markCurrent(plan.version)
    }

    /// - Returns: False if the kernel has no room for the program.
    private func install(
        _ next: EdgeProgram, _ plan: ProgramPlan
    ) throws(Ring.Failure) -> Bool {
        do throws(Ring.Failure) {
            try ring?.attach(next.program)
            if newProgram != nil {
                newProgram = next == .undecided ? next : plan.program(at: otherPoint)
            }
            try newRing?.attach((newProgram ?? next).program)
            // The kernel runs it from now on: on a node with many edges the turn began long before.
            installed.replace(with: next, retirementMax: shape.retirementMax, now: .now)
            return true
        } catch {
            guard error == .programTooLarge else { throw error }
            return false
        }
    }
}

/// Reading.
extension CapturedEdge {
    /// Why the ring should be larger, if it should; at most once in 100 ms.
    ///
    /// Half a ring away from the next block, memory is not at hand. So it is looked at only when a turn
    /// finds a second block, as it does in a ring that fills.
    func takePressure(afterBlocks count: Int, now: MonotonicTime) -> RingPressure? {
        guard now >= nextPressureAt else { return nil }
        let isFilling = lap.isFast || count == 1 && isHalfFull
        let pressure: RingPressure? = isFilling ? .fill : lap.isBusy ? .rate : nil
        if pressure != nil { nextPressureAt = now + Self.pressureInterval }
        return pressure
    }

    /// Whether a block waits to be read.
    var hasBlock: Bool { ring?.hasBlocks(1) ?? false }

    /// Whether half of the blocks, or more, wait to be read, with the one that has just been read.
    private var isHalfFull: Bool {
        ring?.hasBlocks(max(1, Int(shape.blockCount) / 2)) ?? false
    }

    /// Records that a block has cut a packet of a length.
    ///
    /// - Returns: The length of the longest one so far, if it is to be reported: once in 100 ms.
    func takeCut(_ byteCount: Int, now: MonotonicTime) -> Int? {
        cutByteCountMax = max(cutByteCountMax, byteCount)
        guard now >= nextCutAt else { return nil }
        nextCutAt = now + Self.pressureInterval
        return cutByteCountMax
    }

    /// Records a block that is about to be forwarded, in case the ring is being replaced.
    func recordBlock(_ block: borrowing Block) {
        guard newRing != nil, let replacement else { return }
        var packets = block.packets
        while let packet = packets.next() {
            replacement.record(replacement.identity(of: packet), at: readCount + packets.count)
        }
    }

    /// Records that the packets of a block have been forwarded.
    ///
    /// - Returns: The pace that is right for the ring, if it was another one.
    @discardableResult
    func recordRead(_ count: Int, now: MonotonicTime) -> RingPace? {
        readCount += count
        readAt = now
        lap.recordBlock(now: now)
        return talk.recordBlock(now: now)
    }

    /// Whether the edge has been silent for a while, so that a slow ring is right for it.
    func takeSilence(now: MonotonicTime) -> Bool { talk.look(now: now) == .slow && !isLeaving }

    /// Records that the ring holds no block.
    func noteDrained(now: MonotonicTime) {
        // The new ring's packets came under the same programs.
        if newRing == nil, installed.isMixed { installed.noteDrained(now: now) }
    }

    /// Takes what the kernel has counted since the last time; nil if there is no ring.
    ///
    /// While there are two rings the kernel counts twice, so packets are counted when they are read.
    func takeStatistics() throws(SystemError) -> Ring.Statistics? {
        guard let statistics = try ring?.takeStatistics() else { return nil }
        putCount += statistics.put
        if isLagging {
            return Ring.Statistics(received: statistics.dropped, dropped: statistics.dropped)
        }
        guard newRing != nil, let replacement else { return statistics }
        replacement.recordDropped(Int(statistics.dropped))
        return Ring.Statistics(received: 0, dropped: 0)
    }
}

/// The end of an edge.
extension CapturedEdge {
    /// Whether the edge is gone.
    var isLeaving: Bool {
        switch phase {
        case .reading, .replacing: false
        case .draining, .closed: true
        }
    }

    /// Lets nothing more in.
    func beginDraining(now: MonotonicTime) {
        guard !isLeaving else { return }
        // If the device is gone its socket gets nothing anyway.
        try? ring?.attach(Program.keepNothing)
        try? newRing?.attach(Program.keepNothing)
        phase = .draining(since: now, replacement)
    }

    /// When the ring of an edge that is gone gets no packet any more, and when the kernel has handed over
    /// all its blocks; nil for other edges.
    private var drainTimes: (settled: MonotonicTime, drained: MonotonicTime)? {
        switch phase {
        case .draining(let since, _): (since + Ring.settlingTime, since + shape.retirementMax)
        case .reading, .replacing, .closed: nil
        }
    }

    /// Whether nothing more comes once the ring has been read.
    ///
    /// A slow ring takes long to hand over its last block, but mostly there is none.
    func isOver(now: MonotonicTime) -> Bool {
        guard let times = drainTimes, now >= times.settled else { return false }
        return now >= times.drained || putCount <= readCount
    }

    /// When the kernel has handed over all that is in the ring now, by its last counts; nil if it has.
    func handedOver(now: MonotonicTime) -> MonotonicTime? {
        putCount > readCount ? now + shape.retirementMax : nil
    }

    /// Whether the kernel's counts say if the edge is over.
    func awaitsCounts(now: MonotonicTime) -> Bool {
        guard let times = drainTimes else { return false }
        return now >= times.settled && now < times.drained
    }

    /// Whether it is time to let go of a ring inside a pod that is gone, whatever the ring holds.
    ///
    /// Its socket keeps the pod's network namespace, with its pair and addresses.
    func mustLetGo(now: MonotonicTime) -> Bool {
        isOver(now: now) && (edge.point.side == .pod || newProgram != nil)
    }

    /// Hands the ring back for good.
    func close() -> TransferBox<Ring>? {
        phase = .closed
        return surrenderRing()
    }

    private func surrenderRing() -> TransferBox<Ring>? {
        guard let ring = ring.take() else { return nil }
        return TransferBox(ring)
    }
}

/// The forwarder's half of a replacement; see `RingReplacement`.
extension CapturedEdge {
    /// The replacement that is under way, or whose duplicates are still being left out.
    var replacement: RingReplacement? {
        switch phase {
        case .replacing(let replacement): replacement
        case .draining(_, let replacement): replacement
        case .reading, .closed: nil
        }
    }

    private func endReplacement() {
        switch phase {
        case .replacing: phase = .reading
        case .draining(let since, _): phase = .draining(since: since, nil)
        case .reading, .closed: break
        }
    }

    /// Whether a replacement is under way, or duplicates of the last one may still come.
    ///
    /// Where nothing passes, a replacement stays that has none.
    var needsRecord: Bool { newRing != nil || replacement?.mayHaveDuplicates == true }

    /// Whether a new ring is there that has not taken over yet.
    var hasNewRing: Bool { newRing != nil }

    /// What becomes of a replacement in its last step.
    enum Succession {
        /// The old ring, for those who may wait for the kernel to close it, and the packets that
        /// neither ring had room for.
        case done(TransferBox<Ring>?, lost: Ring.Statistics)
        /// The new ring has not got everything.
        case impossible(RingReplacement.Obstacle)
    }

    /// Step 2: lets into a new ring what is let into the present one.
    ///
    /// No earlier replacement may be under way, whose record of duplicates would be lost. The kernel
    /// has just been asked for its counts. A ring at the other end of the pair gets the plan's program.
    ///
    /// Installing a program takes the kernel up to a millisecond. What is put into the present ring
    /// meanwhile may be in one ring or in both, so it is counted when it is read, as everything from
    /// `startCount` on. What the present ring has no room for meanwhile is in neither.
    ///
    /// - Returns: The packets that neither ring has.
    func prepare(
        _ next: consuming Ring, _ seen: consuming PacketSet, at side: TapSide,
        _ plan: ProgramPlan
    ) throws(Ring.Failure) -> Ring.Statistics {
        let program = side == edge.point.side ? nil : plan.program(at: otherPoint)
        try next.attach(
            isLeaving ? Program.keepNothing : (program ?? installed.program).program)
        let startCount = putCount
        let dropped = try countMissed()
        newRing = .some(next)
        newProgram = program
        let replacement = RingReplacement(
            seen, startCount: startCount, isBetweenEnds: program != nil)
        switch phase {
        case .draining(let since, _): phase = .draining(since: since, replacement)
        case .reading, .replacing, .closed: phase = .replacing(replacement)
        }
        return Ring.Statistics(received: dropped, dropped: dropped)
    }

    /// Asks the kernel for its counts of the present ring once more.
    ///
    /// - Returns: The number of packets for which the ring had no room since the last time.
    private func countMissed() throws(Ring.Failure) -> UInt32 {
        do throws(SystemError) {
            guard let statistics = try ring?.takeStatistics() else { return 0 }
            putCount += statistics.put
            return statistics.dropped
        } catch {
            throw .system(error)
        }
    }

    /// Step 3: fixes how far the present ring is read, since the new one gets all further packets.
    ///
    /// The kernel has just been asked for its counts.
    func beginSuccession(now: MonotonicTime) {
        if newRing != nil { replacement?.end(at: putCount, latest: now + shape.retirementMax) }
    }

    /// Whether the present ring is only read to its end.
    var isBeingSucceeded: Bool { newRing != nil && replacement?.hasEnd == true }

    /// Whether the new ring has everything that is still to be forwarded.
    func isSucceeded(now: MonotonicTime) -> Bool {
        newRing != nil && replacement?.isComplete(readCount: readCount, now: now) == true
    }

    /// Step 4: puts the new ring in the present one's place, if it has got everything.
    func succeed(now: MonotonicTime) throws(SystemError) -> Succession {
        guard let statistics = try newRing?.takeStatistics(), let replacement else {
            return .impossible(.other)
        }
        if statistics.freezes > 0 { return .impossible(.ring) }
        if let obstacle = replacement.obstacle { return .impossible(obstacle) }
        let old = surrenderRing()
        guard let next = newRing.take() else { return .impossible(.other) }
        fileDescriptor = next.fileDescriptor
        shape = next.shape
        lap = LapTimer(next.shape)
        ring = .some(next)
        (readCount, putCount) = (0, statistics.put)
        if let program = newProgram.take() {
            edge = edge.captured(at: otherPoint.side)
            installed = InstalledProgram(program, retirementMax: shape.retirementMax, now: now)
            replacement.beginLag(now: now)
        } else {
            replacement.beginDeduplication(of: statistics.put)
        }
        return .done(
            old,
            lost: Ring.Statistics(received: statistics.dropped, dropped: statistics.dropped))
    }

    /// Whether duplicates may still come into a ring that has taken over from one at the other end.
    var isLagging: Bool { newRing == nil && replacement?.isLagging == true }

    /// Ends the time in which duplicates come from the other end, if it is over.
    ///
    /// - Returns: What the kernel had no room for since it was asked last; nil if it is not over.
    func endLag(now: MonotonicTime) throws(SystemError) -> Ring.Statistics? {
        guard isLagging, let replacement, replacement.isLagOver(now: now),
            let statistics = try takeStatistics()
        else { return nil }
        replacement.endLag(unreadCount: putCount - readCount)
        if !replacement.mayHaveDuplicates { endReplacement() }
        return statistics
    }

    /// Gives up on the new ring.
    ///
    /// - Returns: The new ring, and what the kernel counted of the present one during the replacement
    ///   and nobody has counted yet.
    func cancelReplacement() -> (new: TransferBox<Ring>?, remainder: Ring.Statistics) {
        let remainder =
            replacement?.remainder(readCount: readCount, putCount: putCount)
            ?? Ring.Statistics(received: 0, dropped: 0)
        endReplacement()
        newProgram = nil
        guard let next = newRing.take() else { return (nil, remainder) }
        return (TransferBox(next), remainder)
    }

    /// Takes the number of packets that have come out of either ring for the first time.
    ///
    /// When all duplicates have been left out, this ends the replacement.
    func takeFirstReadCount() -> Int {
        guard let replacement else { return 0 }
        let count = replacement.takeFirstReadCount()
        if newRing == nil, !replacement.mayHaveDuplicates { endReplacement() }
        return count
    }
}

extension LapTimer {
    fileprivate init(_ shape: Ring.Shape) {
        self.init(blockCount: Int(shape.blockCount), hasLargeBlocks: shape.hasLargeBlocks)
    }
}
