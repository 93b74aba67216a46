import Addressing
import BPF
import Edges
import Linux
import Metrics
import Observation
import PacketRing
import Packets
import RPCAP
import Settings
import Synchronization
import Time

/// The way of each packet from its ring into the send queue.
///
/// The slow path decides what the kernel could not, the sensor's filter sees what it has not seen in
/// the kernel, and the rest is written into the queue with its header, in the form that a wire carries.
///
/// It belongs to the forwarder's thread. It allocates nothing, logs nothing and makes no system call
/// for a single packet, except for the first packet of a call to a service that no event has reported.
struct Pipeline: ~Copyable {
    var writer: PacketWriter
    var slowPath: SlowPath
    /// Nil while a block is forwarded.
    private var fastPath: FastPath?
    /// The state of the fronts that the fast path knows.
    private var frontChangeCount = 0
    private var tracker: ConnectionTracker?
    /// Why calls to services cannot be looked up, if they should be and cannot.
    let trackingFailure: SystemError?
    var held: HeldFragments
    /// What `held` is while some of it is released, so that nothing is allocated for that.
    let noFragments = HeldFragments(queueByteCount: 0)
    var requests = HeldRequests()
    var strangers = HeldStrangers()
    var copies = CopyTable()
    /// When the node was asked about unknown MAC addresses last.
    var strangersSoughtAt = MonotonicTime.zero
    /// The unknown senders that were seen last.
    var recentSenders = RecentSenders()
    /// Where the node learns what was seen here.
    let sightings: Sightings
    /// What is to be said about calls to services.
    private var services: ServiceWatch
    private(set) var floods = FloodDropList()
    /// What of the reported packets is sent.
    var selection: PacketSelection
    /// The edges of this capture, at which both ends of a request may be seen.
    private(set) var localEdges: LocalEdges
    var filter: PacketFilter
    /// What is counted of the packets that were written, until they are in the queues of sessions.
    var ledger = Ledger()
    /// The packets in the further forms that sessions want.
    private(set) var sideViews: [CaptureView] = []
    /// Whether sessions have different filters, which run in user space then.
    private var filtersDiffer = false
    /// Until when rings may hold packets that another filter has let in than the present one.
    private var filtersHereUntil = MonotonicTime.zero
    let counters: CaptureCounters
    /// The time whose frames are forwarded.
    private let span: ForwardingSpan
    /// Its bounds when the block at hand was begun.
    private var bounds: ForwardingSpan.Bounds

    /// The largest part of the queue that held fragments may take: they go into it together.
    private static let heldShare = 4

    /// Longer than a packet stays in the ring of a silent edge.
    private static let oldestPacketTime = RingPace.slow.retirementMax

    /// How often there is work even if no packet comes.
    ///
    /// The conntrack socket has room for the events of three such intervals at 10,000 flows a second.
    private static let interval = Duration.milliseconds(250)

    init(
        _ plan: CapturePlan, _ rule: Rule, counters: CaptureCounters, now: MonotonicTime
    ) throws(SystemError) {
        var slowPath = SlowPath(rule)
        slowPath.refusesUnexplained = plan.settings.leavesOutUnexplained
        var tracker: ConnectionTracker?
        var failure: SystemError?
        if plan.tracksConnections {
            do throws(SystemError) {
                tracker = try ConnectionTracker(
                    of: rule.addressPlan, ciliumFolder: plan.settings.ciliumFolder,
                    slowPath: &slowPath, counters: counters, now: now)
            } catch {
                failure = error
            }
        }
        writer = try PacketWriter(
            plan.form.sampling, bytesPerSecondMax: plan.settings.bytesPerSecondMax,
            restoresWireForm: plan.settings.restoresWireForm)
        filter = PacketFilter(
            program: plan.form.filter, snaplen: plan.form.frameByteCountMax)
        form = plan.form
        selection = PacketSelection(plan.settings.selection)
        slowPath.needsPorts = selection.needsPorts
        self.slowPath = slowPath
        fastPath = .some(FastPath(rule))
        self.tracker = tracker
        trackingFailure = failure
        held = HeldFragments(
            queueByteCount: plan.settings.queueByteCountMax / Self.heldShare,
            overhead: PacketRecord.headerByteCount)
        localEdges = plan.snapshot.localEdges
        sightings = plan.feed.sightings
        self.counters = counters
        (span, bounds) = (plan.span, plan.span.bounds)
        services = ServiceWatch(plan.settings)
        updateFronts()
    }

    /// The number of the packet that was queued last.
    var lastNumber: UInt32 { writer.lastNumber }

    mutating func set(_ rule: Rule, _ localEdges: LocalEdges) {
        slowPath.rule = rule
        fastPath = .some(FastPath(rule))
        updateFronts()
        self.localEdges = localEdges
    }

    /// The MAC addresses whose flooded copies programs may drop.
    mutating func floodedAddresses(now: MonotonicTime) -> Set<MACAddress> {
        floods.refresh(now: now)
        return floods.addresses
    }

    /// Brings the flows that programs drop up to date.
    ///
    /// - Returns: Whether the installed programs drop too much.
    mutating func refreshCutoff(edgeCount: Int, now: MonotonicTime) -> Bool {
        selection.cutoff?.refresh(edgeCount: edgeCount, now: now) ?? false
    }

    /// The flows whose payload programs may drop, by edge.
    var cutFlows: [UInt32: [FlowKey]] { selection.cutoff?.dropLists ?? [:] }

    /// The first form.
    private(set) var form: ViewForm

    /// Writes packets in these forms from now on.
    ///
    /// - Parameters:
    ///   - form: The first form.
    ///   - sideViews: The others.
    ///   - now: The time.
    mutating func set(_ form: ViewForm, _ sideViews: [CaptureView], now: MonotonicTime) {
        filtersHereUntil = now + Self.oldestPacketTime
        filter = PacketFilter(program: form.filter, snaplen: form.frameByteCountMax)
        writer.set(form.sampling)
        self.form = form
        self.sideViews = sideViews
        filtersDiffer = !form.hasSameFilter(as: sideViews.map(\.form))
    }

    /// How often `attend` must be called even if no packet comes; nil for never.
    var interval: Duration? {
        if strangers.count > 0 { return Self.strangersInterval }
        switch tracker {
        case .some(let tracker): return tracker.interval ?? Self.interval
        case nil: return held.count == 0 ? nil : Self.interval
        }
    }

    /// How often frames that wait for a MAC address are looked at.
    private static let strangersInterval = Duration.milliseconds(50)

    /// When a request has waited long enough, so that `expireRequests` must be called.
    var requestsExpireAt: MonotonicTime? { requests.table.expiresAt }

    /// The number of frames that wait for something.
    var heldCount: Int { held.count + requests.count + strangers.count }

    /// The room in the queue that a block can need, with all fragments that it may release.
    func byteCountMax(ofBlock byteCount: Int) -> Int {
        writer.byteCountMax(ofBlock: byteCount) + heldByteCount
    }

    var heldByteCount: Int {
        held.byteCount + held.count * PacketRecord.headerByteCount + strangersByteCount
    }
}

extension Pipeline {
    /// Forwards the packets of a block into the queue, which must have room for them.
    ///
    /// - Returns: The number of packets in the block.
    mutating func forward(
        _ block: borrowing Block, from edge: EdgeContext, into queue: inout ByteQueue,
        now: MonotonicTime
    ) -> Int {
        var counts = BlockCounts()
        begin(now)
        // As a member of `self`, or of the context, it would be copied for each packet.
        guard let fastPath = fastPath.take() else { return 0 }
        let isCut = block.cutPacketByteCount != nil
        let macs = edge.macs
        let isAtHost = edge.edgeOfPodSide == nil
        var passed = PassedAddresses()
        let limit = filter.limitInKernel
        let isOneView = sideViews.isEmpty && isFilteredInKernel(now) && !looksAtAll
        var packets = block.packets
        lookAtSender(in: &packets, edge, fastPath, now)
        packets = block.packets
        var isOver = false
        while !isOver {
            // Constant until a packet has needed more than to be copied: so they cost next to nothing.
            let hasFastPath = edge.hasFastPath && isOneView && !isCut && !hasNewFronts
            // What a pod says may be the answer to a frame that waits for its MAC address.
            let areIncomingPlain = hasFastPath && strangers.count == 0
            let areAllPlain = areIncomingPlain && !macs.areCompared
            isOver = true
            while let packet = packets.next() {
                let isToPod = packet.isOutgoing == isAtHost
                let look =
                    areAllPlain || !isToPod && areIncomingPlain
                    ? fastPath.look(at: packet.bytes)
                    : isToPod && hasFastPath
                        ? fastPath.look(at: packet.bytes, macs, after: &passed) : .unknown
                if case .cleared = look {
                    // As `copy`, whose call would cost a fifth of all that is done to a packet.
                    if packet.isFinished || !writer.restoresWireForm {
                        writer.append(asItIs: packet, limit, to: &queue, &counts)
                        continue
                    }
                    if limit >= packet.bytes.byteCount, let checksum = packet.plainChecksum {
                        writer.append(packet, finishing: checksum, to: &queue, &counts)
                        continue
                    }
                } else if case .own = look,
                    let opening = fastPath.opening(
                        packet.bytes, direction: isToPod ? .toPod : .fromPod),
                    forward(opening, packet, edge, limit, into: &queue, now, &counts)
                {
                    continue
                }
                isOver = false
                if edge.consumesDuplicate(packet) { break }
                forward(
                    edge.packet(packet, isCutByBlock: isCut), from: edge, fastPath, into: &queue,
                    now, &counts)
                break
            }
        }
        self.fastPath = .some(fastPath)
        add(counts, to: edge.counters)
        return packets.count
    }

    /// Does what is due: reads events of new flows, and gives up on fragments that waited too long.
    mutating func attend(into queue: inout ByteQueue, now: MonotonicTime) {
        begin(now)
        if strangers.count > 0 { releaseStrangers(into: &queue, now) }
        guard held.count > 0, queue.hasRoom(for: heldByteCount) else { return }
        release(into: &queue, now) { $0.takeExpired(now: now) }
    }

    /// Looks at the sources of translations, and returns what a person should know about them now.
    mutating func serviceNotices(now: MonotonicTime) -> [ServiceWatch.Notice] {
        guard let changes = tracker?.refreshCilium(now: now) else { return [] }
        for (family, state) in changes {
            let gauge = family == .ipv4 ? counters.ciliumIPv4 : counters.ciliumIPv6
            gauge.set(state == .inUse ? 1 : 0)
        }
        return services.notices(changes, slowPath.callCounts, now: now)
    }

    /// Drops all held frames, and calls a closure with the counters of each.
    mutating func dropHeld(_ drop: (EdgeTally) -> Void) {
        while let fragment = held.takeFirst() { drop(fragment.counters) }
        while let frame = strangers.take(where: { _ in true }) { drop(frame.counters) }
        while let request = requests.release({ $0.takeFirst() }) {
            if request.fate != .resetFromElsewhere { record(.undecided, request.counters) }
            drop(request.counters)
        }
    }

    private mutating func begin(_ now: MonotonicTime) {
        bounds = span.bounds
        tracker?.listen(for: &slowPath, now: now)
        if hasNewFronts { updateFronts() }
        writer.refill(now: now)
        for view in sideViews { view.writer.refill(now: now) }
    }

    /// Whether a packet of the block at hand has shown a front that the fast path does not know.
    ///
    /// A lookup reads events, too. User space decides about the rest of such a block.
    private var hasNewFronts: Bool { slowPath.fronts.changeCount != frontChangeCount }

    /// Has the fast path clear no packets of the fronts that are known now.
    private mutating func updateFronts() {
        guard var fastPath = fastPath.take() else { return }
        frontChangeCount = slowPath.fronts.changeCount
        fastPath.set(fronts: slowPath.fronts.keys)
        self.fastPath = .some(fastPath)
    }

    mutating func add(_ counts: borrowing BlockCounts, to tally: EdgeTally) {
        counts.addShared(to: tally.common)
        counts.addShared(to: counters)
        if counts.hasReported { ledger.add(counts, of: tally) }
        self.counters.set(.flowsEvicted, to: slowPath.evictedFlowCount)
        self.counters.set(.fragmentedEvicted, to: slowPath.evictedDatagramCount)
        self.counters.set(.remotePodsEvicted, to: slowPath.evictedRemotePodCount)
        self.counters.set(.callsNotLearned, to: slowPath.fronts.notLearnedCount)
        self.counters.set(.serviceCalls, to: slowPath.callCounts.count)
        self.counters.set(.serviceCallsUnexplained, to: slowPath.callCounts.unexplainedCount)
    }
}

/// The packets that need more than to be copied.
extension Pipeline {
    @inline(never)
    private mutating func forward(
        _ packet: borrowing Packet, from edge: EdgeContext, _ fastPath: borrowing FastPath,
        into queue: inout ByteQueue, _ now: MonotonicTime, _ counts: inout BlockCounts
    ) {
        guard let point = edge.point(ofInterface: packet.details.interfaceIndex) else {
            counts.puntedCount += 1
            counts.refusedCount += 1
            return
        }
        if !packet.isCutShort, isUndecided(packet, edge.program, point, fastPath) {
            return punt(
                packet, at: point, edge.counters, into: &queue, now, &counts)
        }
        guard isOwn(packet.details.nanosecondsSince1970, &counts) else { return }
        // A filter that has cut a packet short has let it pass.
        let isFiltered =
            edge.filter == .inKernel && isFilteredInKernel(now) || packet.isCutShort
        guard
            selection.admits(
                packet, nil, nil, at: point.interfaceIndex,
                isSampled: edge.filter == .inKernel || packet.isCutShort, now, &counts)
        else { return }
        let limit =
            isFiltered
            ? filter.limitInKernel
            : filter.byteCount(packet.bytes, packet.details, at: point.interfaceIndex)
        writer.append(packet, limit, to: &queue, &counts)
        for view in sideViews {
            view.append(
                packet, nil, at: point.interfaceIndex, isFiltered: isFiltered, of: edge.counters)
        }
    }

    /// Whether all sessions have the filter that is in the kernel, and rings hold nothing older.
    private func isFilteredInKernel(_ now: MonotonicTime) -> Bool {
        !filtersDiffer && now >= filtersHereUntil
    }

    private func isUndecided(
        _ packet: borrowing Packet, _ program: EdgeContext.ProgramRole,
        _ point: ObservationPoint, _ fastPath: borrowing FastPath
    ) -> Bool {
        // A tag is put back before a filter sees the frame, which the kernel cannot do.
        program == .punts || hasNewFronts
            || packet.details.vlan != nil && writer.restoresWireForm
            || !fastPath.clears(
                packet.bytes, toPod: packet.details.isOutgoing, at: EdgeMACs(point))
    }

    /// Decides about a packet in user space, and carries that out.
    mutating func punt(
        _ packet: borrowing Packet, at point: ObservationPoint, _ counters: EdgeTally,
        into queue: inout ByteQueue, _ now: MonotonicTime, heldAt: MonotonicTime? = nil,
        _ counts: inout BlockCounts
    ) {
        let mayHold = heldAt == nil
        if mayHold {
            releaseStrangers(answeredBy: packet, at: point, into: &queue, now)
            if noteGroupFrame(packet, at: point, now) { return countCopy(&counts) }
            if holdStranger(packet, at: point, counters, now) { return }
        }
        let waited = heldAt.map { now - $0 } ?? .zero
        var step = step(packet, point, now, mayHold: mayHold, waited)
        if case .lookUp(let flow) = step {
            lookUp(flow, now)
            step = self.step(packet, point, now, mayHold: mayHold, waited)
        }
        if case .hold(let datagram) = step {
            let byteCount = packet.bytes.byteCount
            if held.isFull(for: byteCount) { makeRoomToHold(byteCount, into: &queue, now) }
            if held.hold(packet, of: datagram, at: point, counters, now: now) { return }
            counts.notHeldCount += 1
            step = self.step(packet, point, now, mayHold: false, waited)
        }
        counts.puntedCount += 1
        guard case .decided(let outcome) = step else {
            counts.refusedCount += 1
            return
        }
        if noteFloodedFrame(packet, outcome.decision, at: point, now) {
            counts.refusedCount += 1
            return
        }
        if let part = outcome.requestPart,
            carryOut(part, outcome, packet, at: point, counters, into: &queue, now, &counts)
        {
            return
        }
        carryOut(outcome, packet, at: point, counters, into: &queue, now, &counts)
        if let datagram = outcome.firstFragmentOf, held.count > 0 {
            release(into: &queue, now) { $0.take(of: datagram) }
        }
    }

    /// Whether each frame that is reported is looked at once more.
    private var looksAtAll: Bool { selection.seesAll || !bounds.isUnbounded }

    /// Whether a frame that is to be reported is this agent's, by the moment when it passed.
    ///
    /// One that is another agent's is counted.
    func isOwn(_ nanosecondsSince1970: UInt64, _ counts: inout BlockCounts) -> Bool {
        if bounds.isUnbounded || bounds.contains(nanosecondsSince1970) { return true }
        counts.otherAgentCount += 1
        return false
    }

    private mutating func step(
        _ packet: borrowing Packet, _ point: ObservationPoint, _ now: MonotonicTime, mayHold: Bool,
        _ waited: Duration
    ) -> SlowPath.Step {
        slowPath.decide(
            packet.bytes, direction: Direction(isOutgoing: packet.details.isOutgoing), at: point,
            isToPodItself: packet.details.isToPodItself, now: now, mayHold: mayHold, waited: waited)
    }

    private mutating func lookUp(_ flow: FlowKey, _ now: MonotonicTime) {
        if tracker == nil {
            slowPath.learn(.unavailable, about: flow, now: now)
        } else {
            tracker?.lookUp(flow, for: &slowPath, now: now)
        }
    }

    mutating func carryOut(
        _ outcome: SlowPath.Outcome, _ packet: borrowing Packet, at point: ObservationPoint,
        _ tally: EdgeTally, into queue: inout ByteQueue, _ now: MonotonicTime,
        _ counts: inout BlockCounts
    ) {
        if outcome.isFragment { counts.fragmentCount += 1 }
        if outcome.decision.step == .flooded {
            floods.record(MACAddress(packet.bytes, at: EthernetHeader.destination))
        }
        if outcome.decision.step == .unexplainedService { counts.unexplainedCount += 1 }
        guard outcome.decision.isReported else {
            counts.refusedCount += 1
            return
        }
        if outcome.translation != nil { counts.translatedCount += 1 }
        report(
            packet, outcome.translation, outcome.ports, at: point.interfaceIndex, tally,
            into: &queue, now, &counts)
    }

    /// Writes a packet that no filter has seen, in each form that sessions want.
    mutating func report(
        _ packet: borrowing Packet, _ translation: Translation?,
        _ ports: IPPacket.Ports? = nil, at interfaceIndex: UInt32, _ tally: EdgeTally,
        into queue: inout ByteQueue, _ now: MonotonicTime, _ counts: inout BlockCounts
    ) {
        guard isOwn(packet.details.nanosecondsSince1970, &counts),
            selection.admits(
                packet, translation, ports, at: interfaceIndex, isSampled: false, now, &counts)
        else { return }
        writer.append(packet, translation, filter, at: interfaceIndex, to: &queue, &counts)
        for view in sideViews {
            view.append(packet, translation, at: interfaceIndex, isFiltered: false, of: tally)
        }
    }
}

extension Packet {
    /// Whether a filter has kept only the beginning, so that the kernel has decided about the packet.
    ///
    /// What the kernel leaves to user space comes whole, or cut by a block, which is longer.
    fileprivate var isCutShort: Bool {
        bytes.byteCount < details.wireByteCount && bytes.byteCount < Int(UInt16.max)
    }
}
