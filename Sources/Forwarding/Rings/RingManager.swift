import BPF
import Edges
import Linux
import Log
import Logging
import Metrics
import Observation
import PacketRing
import Settings
import Synchronization
import Time

/// Opens and closes the rings of one capture as edges come and go, and replaces rings close to full.
///
/// The kernel takes about 15 ms to open a ring and as long to close one, nearly all of it for a grace
/// period that all who wait share. So several are opened or closed at once, on a thread of their own,
/// and the forwarder's thread never waits.
final class RingManager: Sendable {
    let tellsOffload: Bool
    let logger: Logger
    private let feed: NodePublisher
    private let scope: CaptureScope
    private let firstPlan: ProgramPlan
    let podSockets: PodSockets?
    let counters: CaptureCounters
    private let mailbox: Mailbox<RingMessage>
    /// Sends a command to the forwarder, and never waits.
    let send: @Sendable (RingCommand) -> Void

    /// As many threads as shorten the opening of 250 rings; more do not.
    static let threadCountMax = 16
    /// How soon a ring is tried again that could not be opened.
    private static let retryInterval = Duration.seconds(1)

    /// Prepares a manager, which begins with `run`.
    ///
    /// - Parameters:
    ///   - feed: Publishes the edges and the rule.
    ///   - scope: The part of the node that the capture shows.
    ///   - plan: What the first programs are made from.
    ///   - podSockets: Opens sockets inside pods; nil if all edges are captured at the host's ends.
    ///   - counters: Gets the memory of the rings.
    ///   - logger: Gets what a person should know.
    ///   - send: Sends a command to the forwarder, such as to read a ring that is open.
    /// - Throws: If the process has no descriptor left.
    init(
        _ feed: NodePublisher, _ scope: CaptureScope, _ plan: ProgramPlan,
        _ podSockets: PodSockets?, _ counters: CaptureCounters, logger: Logger,
        send: @escaping @Sendable (RingCommand) -> Void
    ) throws(SystemError) {
        (self.feed, self.scope, self.podSockets) = (feed, scope, podSockets)
        tellsOffload = plan.restoresWireForm
        firstPlan = plan
        self.counters = counters
        self.logger = logger
        self.send = send
        // No message is lost, since that would leak a ring. Each edge has a few at most.
        mailbox = try Mailbox(countMax: .max)
    }

    /// Posts a message to the manager's thread, and never waits.
    func post(_ message: RingMessage) {
        if message.pressedIncarnation == nil {
            mailbox.send(message)
        } else {
            mailbox.send(message, unlessWaiting: \.pressedIncarnation)
        }
    }

    /// Manages the rings until the message `end`.
    ///
    /// - Parameters:
    ///   - memory: The memory of the node's rings; what this capture takes is given back at the end.
    ///   - isClient: Whether the capture is a client's.
    ///   - heartbeat: Beats with each turn.
    ///   - began: Called when opening the first rings has been tried, with the reason if there are
    ///     edges and none could be captured.
    func run(
        _ memory: RingMemory, isClient: Bool, _ heartbeat: borrowing Watchdog.Heartbeat,
        began: (SystemError?) -> Void
    ) {
        nameThread("podwire-rings")
        var table = RingTable(
            RingBudget(memory, hasPodTaps: podSockets != nil, isClient: isClient))
        var plan = firstPlan
        // The publisher raises the mailbox's event, so that one wait is for both.
        feed.subscribe(mailbox.fileDescriptor)
        defer { feed.unsubscribe(mailbox.fileDescriptor) }
        began(follow(&table, &plan))
        while true {
            heartbeat.beat()
            updateGauges(table)
            let messages = mailbox.takeAll(waitingUntil: nextTime(table))
            if messages.contains(where: \.isEnd) { break }
            for message in messages { record(message, &table, &plan) }
            // New rings fill until they take over, so that comes before all that takes time.
            succeed(messages.compactMap(\.preparedIncarnation), table)
            close(table.takeClosing())
            for message in messages { act(on: message, &table) }
            _ = follow(&table, &plan)
        }
        close(table.takeAll())
    }

    private func nextTime(_ table: RingTable) -> MonotonicTime {
        let now = MonotonicTime.now
        // Messages have their turn between the few that move at a time.
        if podSockets != nil, table.isDue(now: now) { return now }
        var time = now + (table.hasFailures ? Self.retryInterval : Watchdog.waitMax)
        if let next = table.nextPaceAt { time = min(time, next) }
        return podSockets == nil ? time : min(time, table.nextOtherEndAt ?? time)
    }

    private func updateGauges(_ table: RingTable) {
        counters.ringBytes.set(table.ringByteCount)
        counters.edgesSharing.set(table.sharing.count)
        counters.edgesInside.set(table.insideCount)
        counters.ringsSlow.set(table.slowCount)
    }

    /// Records what the forwarder has let go of, so that it is closed with the rest.
    private func record(
        _ message: RingMessage, _ table: inout RingTable, _ plan: inout ProgramPlan
    ) {
        switch message {
        case .closed(let incarnation, let ring): table.recordClosed(incarnation, ring)
        case .replacement(let incarnation, let event): advance(event, of: incarnation, &table)
        case .views(let form, let others): plan.set(form, others)
        case .pace(let pace, let incarnation): table.recordPace(pace, of: incarnation)
        case .pressed, .cut, .end: break
        }
    }

    /// Does what takes time.
    private func act(on message: RingMessage, _ table: inout RingTable) {
        switch message {
        case .pressed(let incarnation, let pressure):
            open(table.relievePressure(on: incarnation, pressure, now: .now), &table)
        case .cut(let incarnation, let byteCount): recordCut(incarnation, byteCount, &table)
        case .replacement, .closed, .views, .pace, .end: break
        }
    }
}

extension RingManager {
    /// Opens rings for new edges, and gives up those of edges that are gone.
    private func follow(_ table: inout RingTable, _ plan: inout ProgramPlan) -> SystemError? {
        let snapshot = feed.snapshot.limited(to: scope)
        if snapshot.version != table.version {
            table.version = snapshot.version
            plan.set(snapshot.rule)
            table.record(snapshot.edges)
            send(.follow(snapshot))
            for incarnation in table.takeGone(from: snapshot.edges) {
                send(.remove(incarnation: incarnation))
            }
            if scope != .stream, snapshot.edges.isEmpty { send(.endWithEdge) }
        }
        let (openings, isSharingChanged) = table.takeOpenings(for: snapshot.edges, now: .now)
        if isSharingChanged || table.lacksSharedRing { share(&table) }
        warnOfUncaptured(&table)
        defer {
            enlargeBlocks(&table)
            moveToOtherEnds(&table)
            open(table.takePaces(now: .now), &table)
        }
        return open(openings, plan, &table)
    }

    /// Serves the edges for which there is no memory.
    private func share(_ table: inout RingTable) {
        if table.lacksSharedRing {
            do throws(Ring.Failure) {
                let ring = try Ring(
                    on: 0, Program.keepNothing, shape: RingBudget.smallest,
                    tellsOffload: tellsOffload)
                table.recordSharedRing(TransferBox(try ring.lease()))
                send(.openShared(TransferBox(ring)))
            } catch {
                guard !table.hasWarnedOfSharedRing else { return }
                table.hasWarnedOfSharedRing = true
                return logger.warning(
                    "edges without memory are not captured; the agent tries again every second",
                    metadata: [
                        "edge_count": .number(table.sharing.count), "reason": "\(error)",
                    ])
            }
        }
        send(.share(table.sharing))
        guard !table.sharing.isEmpty, !table.hasWarnedOfSharing else { return }
        table.hasWarnedOfSharing = true
        let (cause, remedy) = lackOfMemory(table)
        logger.warning(
            """
            \(cause): new edges have no ring of their own but share one, \
            which costs more and holds less\(warningOfHalves(table.sharing)); \(remedy)
            """,
            metadata: [
                "sharing": .number(table.sharing.count),
                "ring_memory": .number(table.budget.byteCountMax),
            ])
    }

    private func open(
        _ openings: [RingTable.Opening], _ plan: ProgramPlan, _ table: inout RingTable
    ) -> SystemError? {
        guard !openings.isEmpty else { return nil }
        let results = Mutex<[UInt64: Opened]>([:])
        inParallel(openings.count, threadCountMax: Self.threadCountMax) { [self] index in
            let opened = open(openings[index], plan)
            results.withLock { $0[openings[index].edge.incarnation] = opened }
        }
        var failure: SystemError?
        for opening in openings {
            let edge = opening.edge
            switch results.withLock({ $0[edge.incarnation] }) {
            case .lease(let lease, let tap):
                guard table.recordOpened(opening, lease, at: tap, now: .now) else { continue }
                logger.info(
                    "the edge is captured now", metadata: ["edge": "\(edge.name)"])
            case .noSocket(let error): _ = table.recordFailure(opening, error, now: .now)
            case .failure(let error):
                let isNews = table.recordFailure(opening, error, now: .now)
                guard !error.isInterfaceAbsent else { continue }
                failure = error.systemError
                guard isNews else { continue }
                logger.warning(
                    "an edge cannot be captured; the agent tries again every second",
                    metadata: ["edge": "\(edge.name)", "reason": "\(error)"])
            case nil: break
            }
        }
        return table.isEmpty ? failure : nil
    }

    private enum Opened: Sendable {
        case lease(TransferBox<RingLease>, EdgeTap)
        case failure(Ring.Failure)
        /// There is no socket inside the pod, which the log says, nor an end in the node.
        case noSocket(Ring.Failure)
    }

    /// Opens a ring where its edge is to be captured, and hands it to the forwarder at once.
    ///
    /// If that is inside the pod and fails, the host's end is captured, if there is one, and the other
    /// one tried later.
    private func open(_ opening: RingTable.Opening, _ plan: ProgramPlan) -> Opened {
        do throws(RingOpeningFailure) {
            return .lease(try open(opening, plan, at: opening.edge.tap), opening.edge.tap)
        } catch {
            guard opening.edge.hasHostEnd else {
                if case .socket = error { return .noSocket(error.ringFailure) }
                return .failure(error.ringFailure)
            }
            guard opening.edge.tap.side == .pod, error != .ring(.noMemory) else {
                return .failure(error.ringFailure)
            }
        }
        do throws(RingOpeningFailure) {
            return .lease(try open(opening, plan, at: .host), .host)
        } catch {
            return .failure(error.ringFailure)
        }
    }

    private func open(
        _ opening: RingTable.Opening, _ plan: ProgramPlan, at tap: EdgeTap
    ) throws(RingOpeningFailure) -> TransferBox<RingLease> {
        let edge = opening.edge.captured(at: tap.side)
        var plan = plan
        while true {
            let program = plan.program(at: edge.point)
            do throws(RingOpeningFailure) {
                let ring = try ring(at: tap, of: edge, program.program, opening.shape)
                let lease = TransferBox(try RingOpeningFailure.lease(of: ring))
                send(.add(edge, TransferBox(ring), program))
                return lease
            } catch {
                guard error == .ring(.programTooLarge), program.decides else { throw error }
                plan.shrink(below: program)
            }
        }
    }

    /// Closes rings, many at once.
    private func close(_ rings: [ClosingRing]) {
        inParallel(rings.count, threadCountMax: Self.threadCountMax) { rings[$0].close() }
    }
}

extension RingMessage {
    fileprivate var isEnd: Bool {
        if case .end = self { true } else { false }
    }

    /// The edge whose new ring lets in what the old one does, if the message says that.
    fileprivate var preparedIncarnation: UInt64? {
        if case .replacement(let incarnation, .prepared) = self { incarnation } else { nil }
    }
}
