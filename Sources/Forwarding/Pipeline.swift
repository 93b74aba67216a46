import Addressing
import BPF
import Linux
import Observation
import PacketRing
import RPCAP
import Settings
import Synchronization

/// What happens to each packet between its ring and the send queue: the rule settles what the kernel
/// could not decide about, the sensor's filter sees what it has not seen in the kernel, and the rest
/// is written into the queue with its header, in the form that the rule says.
///
/// It belongs to the forwarder's thread. Nothing is allocated, logged or asked of the kernel for a
/// single packet, but for the first one of a call to a service that no event has told of.
struct Pipeline: ~Copyable {
    var writer: PacketWriter
    private(set) var slowPath: SlowPath
    private var fastPath: FastPath
    private var tracker: ConnectionTracker?
    /// Why calls to services cannot be looked up, where they should be.
    let trackingFailure: SystemError?
    private var held: HeldFragments
    private var filter: PacketFilter
    private let counters: CaptureCounters

    init(_ plan: CapturePlan, _ rule: Rule, counters: CaptureCounters) throws(SystemError) {
        var slowPath = SlowPath(rule)
        var tracker: ConnectionTracker?
        var failure: SystemError?
        if plan.tracksConnections {
            do throws(SystemError) {
                tracker = try ConnectionTracker(
                    towards: rule.addressPlan.serviceNetworks, slowPath: &slowPath,
                    counters: counters)
            } catch {
                failure = error
            }
        }
        writer = try PacketWriter(
            queueByteCount: plan.settings.queueByteCountMax, plan.sampling,
            bytesPerSecondMax: plan.settings.bytesPerSecondMax,
            restoresWireForm: plan.settings.restoresWireForm)
        filter = PacketFilter(program: plan.filter, snaplen: plan.frameByteCountMax)
        self.slowPath = slowPath
        fastPath = FastPath(rule)
        self.tracker = tracker
        trackingFailure = failure
        let heldCountMax =
            plan.settings.queueByteCountMax / Self.heldShare
            / (HeldFragments.byteCountMax + PacketRecord.headerByteCount)
        held = HeldFragments(countMax: min(HeldFragments.countMax, heldCountMax))
        self.counters = counters
    }

    var rule: Rule { slowPath.rule }

    /// How often there is something to do also when no packet comes, milliseconds.
    var turnMilliseconds: CInt? {
        tracker == nil && held.count == 0 ? nil : Self.turnMilliseconds
    }

    /// The socket has room for the events of more than three turns at 10,000 flows a second.
    private static let turnMilliseconds: CInt = 250

    /// Whether the queue has room for all that a block of this size can lead to.
    mutating func hasRoom(forBlock byteCount: Int) -> Bool {
        writer.hasRoom(forBlock: byteCount, beside: heldByteCount)
    }

    /// Settles the pieces of an edge that is gone.
    mutating func settleHeld(of account: FrameCounters) {
        guard held.count > 0 else { return }
        release(monotonicNanoseconds()) { $0.take(of: account) }
    }

    /// Gives up what is still held, and answers whose it was.
    mutating func abandonHeld(_ abandon: (FrameCounters) -> Void) {
        while let piece = held.takeExpired(now: 0, orAny: true) { abandon(piece.account) }
    }

    /// Held pieces go into the queue together, and may take no more than this part of it.
    private static let heldShare = 4

    private var heldByteCount: Int {
        held.byteCount + held.count * PacketRecord.headerByteCount
    }

    mutating func set(_ rule: Rule) {
        slowPath.rule = rule
        fastPath = FastPath(rule)
    }

    mutating func set(_ filter: Program?) {
        self.filter = PacketFilter(program: filter, snaplen: self.filter.snaplen)
    }

    mutating func set(_ sampling: Sampling) {
        writer.set(sampling)
    }

    /// What everything begins with that deals with packets: takes in events, and what the limit of the feed
    /// allows by now. Answers the time.
    private mutating func begin() -> UInt64 {
        let now = monotonicNanoseconds()
        tracker?.listen(for: &slowPath, now: now)
        writer.refill(now: now)
        return now
    }

    /// Does what is due: takes in events, and gives up on pieces that have waited for too long, or
    /// on all of them.
    mutating func attend(isLast: Bool = false) {
        let now = begin()
        guard held.count > 0, writer.queue.makeRoom(for: heldByteCount) else { return }
        release(now) { $0.takeExpired(now: now, orAny: isLast) }
    }

    /// The same for a block of packets from many edges, about which the kernel has decided nothing.
    mutating func forward(
        _ block: borrowing Block, from points: [UInt32: ObservationPoint], _ account: FrameCounters
    ) {
        var tally = BlockCounts()
        let now = begin()
        var packets = block.packets
        while let packet = packets.next() {
            if let point = points[packet.interfaceIndex] {
                settle(packet.packet, from: point, account, now, mayWait: true, &tally)
            } else {
                tally.puntedCount += 1
                tally.refusedCount += 1
            }
        }
        count(tally, account)
    }

    /// Deals with all packets of a block; the queue has room for it. The kernel has decided about
    /// its packets, or not; and shown those that it kept to the sensor's filter, or not. Answers how
    /// many there were.
    mutating func forward(
        _ block: borrowing Block, from point: ObservationPoint, _ account: FrameCounters,
        isDecided: Bool, isFiltered: Bool
    ) -> Int {
        var tally = BlockCounts()
        let now = begin()
        var packets = block.packets
        while let packet = packets.next() {
            // Most packets the kernel has decided about and shown to the filter. They are copied,
            // many of them with their checksum finished.
            if isDecided, isFiltered, fastPath.clears(packet.bytes) {
                if packet.isFinished || !writer.restoresWireForm {
                    writer.append(asItIs: packet, filter.limitInKernel, &tally)
                    continue
                }
                if filter.limitInKernel >= packet.bytes.byteCount,
                    let checksum = packet.plainChecksum
                {
                    writer.append(packet, finishing: checksum, &tally)
                    continue
                }
            }
            forward(packet.packet, from: point, account, isDecided, isFiltered, now, &tally)
        }
        count(tally, account)
        return packets.count
    }

    /// The same for a block of a ring that has taken another one's place: what has come out of that
    /// is left out.
    mutating func forward(
        _ block: borrowing Block, from point: ObservationPoint, _ account: FrameCounters,
        isDecided: Bool, isFiltered: Bool, unless hasForwarded: (UInt64?) -> Bool
    ) -> Int {
        var tally = BlockCounts()
        let now = begin()
        var packets = block.packets
        while let packet = packets.next() {
            if hasForwarded(packet.identity) { continue }
            forward(packet.packet, from: point, account, isDecided, isFiltered, now, &tally)
        }
        count(tally, account)
        return packets.count
    }
}

extension Pipeline {
    /// Deals with a packet of which more may have to be done.
    @inline(never)
    private mutating func forward(
        _ packet: borrowing Packet, from point: ObservationPoint, _ account: FrameCounters,
        _ isDecided: Bool, _ isFiltered: Bool, _ now: UInt64, _ tally: inout BlockCounts
    ) {
        // Tags are put back before a filter sees the frame, which the kernel cannot do.
        let isUndecided =
            !isDecided || packet.details.vlan != nil && writer.restoresWireForm
            || !fastPath.clears(packet.bytes)
        if !packet.isCutShort, isUndecided {
            return settle(packet, from: point, account, now, mayWait: true, &tally)
        }
        // What a filter has cut short it has let through.
        let limit =
            isFiltered || packet.isCutShort
            ? filter.limitInKernel : filter.byteCount(packet.bytes, packet.details, at: point)
        writer.append(packet, limit, &tally)
    }

    /// The one place for all that the kernel's form of the rule leaves open.
    private mutating func settle(
        _ packet: borrowing Packet, from point: ObservationPoint, _ account: FrameCounters,
        _ now: UInt64, mayWait: Bool, _ tally: inout BlockCounts
    ) {
        var step = step(packet, point, now, mayWait)
        if case .lookUp(let flow) = step {
            lookUp(flow, now)
            step = self.step(packet, point, now, mayWait)
        }
        if case .hold(let datagram) = step {
            if held.hold(packet, of: datagram, at: point, account, now: now) { return }
            tally.notHeldCount += 1
            step = self.step(packet, point, now, false)
        }
        tally.puntedCount += 1
        guard case .decided(let outcome) = step else {
            tally.refusedCount += 1
            return
        }
        carryOut(outcome, packet, point, &tally)
        if let datagram = outcome.firstFragmentOf, held.count > 0 {
            release(now) { $0.take(of: datagram) }
        }
    }

    private mutating func step(
        _ packet: borrowing Packet, _ point: ObservationPoint, _ now: UInt64, _ mayWait: Bool
    ) -> SlowPath.Step {
        slowPath.decide(
            packet.bytes, direction: Direction(isOutgoing: packet.details.isOutgoing), at: point,
            now: now, mayHold: mayWait)
    }

    private mutating func lookUp(_ flow: FlowKey, _ now: UInt64) {
        if tracker == nil {
            slowPath.learn(.unavailable, about: flow, now: now)
        } else {
            tracker?.explain(flow, to: &slowPath, now: now)
        }
    }

    private mutating func carryOut(
        _ outcome: SlowPath.Outcome, _ packet: borrowing Packet, _ point: ObservationPoint,
        _ tally: inout BlockCounts
    ) {
        if outcome.isFragment { tally.fragmentCount += 1 }
        if outcome.decision.step == .unexplainedService { tally.unexplainedCount += 1 }
        guard outcome.decision.isReported else {
            tally.refusedCount += 1
            return
        }
        if outcome.translation != nil { tally.translatedCount += 1 }
        writer.append(packet, outcome.translation, filter, at: point, &tally)
    }

    /// Settles pieces that have waited; they wait no longer. Each is counted where it was seen, which
    /// may be another edge than the one whose block is at hand.
    private mutating func release(
        _ now: UInt64, _ take: (inout HeldFragments) -> HeldFragments.Piece?
    ) {
        // While they are dealt with they are not this value's, so that their bytes stay put.
        var pieces = HeldFragments()
        swap(&pieces, &held)
        while let piece = take(&pieces) {
            var tally = BlockCounts()
            settle(
                pieces.packet(piece), from: piece.point, piece.account, now, mayWait: false,
                &tally)
            count(tally, piece.account)
        }
        swap(&pieces, &held)
    }
}

extension Pipeline {
    private func count(_ tally: BlockCounts, _ account: FrameCounters) {
        tally.add(to: account)
        tally.add(to: counters)
        counters.set(.flowsEvicted, to: slowPath.evictedFlowCount)
    }
}

extension Packet {
    /// Whether a filter has kept only the beginning. Then the kernel has decided about the packet,
    /// and must have: what it leaves to user space comes whole, or cut by a block, which is longer.
    fileprivate var isCutShort: Bool {
        bytes.byteCount < details.wireByteCount && bytes.byteCount < Int(UInt16.max)
    }
}
