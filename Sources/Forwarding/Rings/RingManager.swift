import Metrics
import Edges
import Settings
import BPF
import PacketRing
import Glibc
import Linux
import Log
import Logging
import Observation
import Synchronization

/// Opens and closes the rings of one capture as edges come and go, and makes those larger that are
/// close to full, all within the capture's memory.
///
/// Opening a ring takes the kernel some 15 ms, and closing one, too, nearly all of it spent on
/// waiting for a grace period that all who wait share. So both happen here and many at once, and the
/// forwarder's thread never waits.
final class RingManager: Sendable {
    private let feed: NodePublisher
    private let scope: CaptureScope
    private let tellsOffload: Bool
    private let counters: CaptureCounters
    private let logger: Logger
    private let wake: Event
    private let state: Mutex<State>
    private let give: @Sendable (RingCommand) -> Void

    private struct State {
        var plan: ProgramPlan
        var notes: [RingEvent] = []
        var isEnding = false
    }

    /// As many threads as shorten the start of 250 rings; more do not.
    private static let threadCountMax = 16
    /// How soon a ring is tried again that could not be opened.
    private static let retryMilliseconds: CInt = 1000
    /// How many packets an edge may have while two rings get them, which is for some 20 ms: one and a
    /// half million a second. Twice as many each time that this has failed.
    private static let sharedCountMax = 1 << 15

    init(
        _ feed: NodePublisher, _ scope: CaptureScope, _ plan: ProgramPlan,
        _ counters: CaptureCounters,
        logger: Logger, give: @escaping @Sendable (RingCommand) -> Void
    ) throws(SystemError) {
        (self.feed, self.scope) = (feed, scope)
        tellsOffload = plan.keepsWhole
        self.counters = counters
        self.logger = logger
        wake = try Event()
        state = Mutex(State(plan: plan))
        self.give = give
    }

    /// Takes note of what the forwarder says, once where it says it more often. Never waits.
    func note(_ note: RingEvent) {
        state.withLock { state in
            if !state.notes.contains(where: note.isSame) { state.notes.append(note) }
        }
        wake.raise()
    }

    /// Has rings opened with another filter from now on.
    func set(_ filter: Program?) {
        state.withLock { $0.plan.set(filter) }
    }

    /// Has `run` close all rings and return.
    func end() {
        state.withLock { $0.isEnding = true }
        wake.raise()
    }

    /// Keeps the rings until the end. Says when it has tried to open the first ones, with the reason
    /// if there are edges and not one could be opened.
    func run(
        _ budget: RingBudget, _ pulse: borrowing Watchdog.Heartbeat, began: (SystemError?) -> Void
    ) {
        nameThread("podwire-rings")
        var book = RingTable(budget)
        feed.subscribe(wake.fileDescriptor)
        defer { feed.unsubscribe(wake.fileDescriptor) }
        began(follow(&book))
        while true {
            pulse.beat()
            tell(book)
            _ = try? poll(
                [(wake.fileDescriptor, .readable)],
                milliseconds: book.hasFailures ? Self.retryMilliseconds : Watchdog.waitMilliseconds)
            wake.lower()
            let (notes, isEnding) = state.withLock { state in
                defer { state.notes = [] }
                return (state.notes, state.isEnding)
            }
            if isEnding { break }
            for note in notes { settle(note, &book) }
            close(book.takeClosing())
            for note in notes { attend(to: note, &book) }
            _ = follow(&book)
        }
        close(book.takeAll())
    }

    /// Says how much memory is in use.
    private func tell(_ book: RingTable) {
        counters.ringBytes.set(book.ringByteCount)
        counters.edgesSharing.set(book.crowd.count)
    }

    /// Opens what is new and has what is gone closed.
    private func follow(_ book: inout RingTable) -> SystemError? {
        let snapshot = feed.snapshot.limited(to: scope)
        if snapshot.version != book.version {
            book.version = snapshot.version
            state.withLock { $0.plan.set(snapshot.rule) }
            give(.follow(snapshot))
            for incarnation in book.incarnationsGone(from: snapshot.edges) {
                give(.remove(incarnation: incarnation))
            }
            if scope != .stream, snapshot.edges.isEmpty { give(.end) }
        }
        let (wanted, isCrowdChanged) = book.take(
            snapshot.edges, now: monotonicNanoseconds())
        if isCrowdChanged || book.lacksCrowd { crowd(&book) }
        return open(wanted, &book)
    }

    /// Serves the edges for which there is no memory.
    private func crowd(_ book: inout RingTable) {
        if book.crowdLease == nil {
            do throws(Ring.Failure) {
                let ring = try Ring(
                    on: 0, Program.keepNothing, shape: RingBudget.smallest,
                    tellsOffload: tellsOffload)
                book.crowdLease = TransferBox(try ring.lease())
                give(.openCrowd(TransferBox(ring)))
            } catch {
                guard !book.hasWarnedOfCrowd else { return }
                book.hasWarnedOfCrowd = true
                return logger.warning(
                    "edges without memory are not captured, it is tried again every second",
                    metadata: ["edge_count": .number(book.crowd.count), "reason": "\(error)"])
            }
        }
        give(.crowd(book.crowd))
        if !book.crowd.isEmpty, !book.hasWarned {
            book.hasWarned = true
            let (cause, remedy) =
                book.budget.isKernelExhausted
                ? ("the kernel has no memory for more rings", "free some on the node")
                : ("the ring memory is used up", "raise \(Setting.ringMemory.option)")
            logger.warning(
                """
                \(cause): new edges have no ring of their own but share one, \
                which costs more and holds less; \(remedy)
                """,
                metadata: [
                    "sharing": .number(book.crowd.count),
                    "ring_memory": .number(book.budget.byteCountMax),
                ])
        }
    }

    private func open(
        _ wanted: [(place: Edge, shape: Ring.Shape)], _ book: inout RingTable
    ) -> SystemError? {
        guard !wanted.isEmpty else { return nil }
        let plan = state.withLock { $0.plan }
        let results = Mutex<[UInt64: Opened]>([:])
        inParallel(wanted.count, threadCountMax: Self.threadCountMax) { [give] index in
            let (place, shape) = wanted[index]
            let opened = Self.open(place, shape, plan, give)
            results.withLock { $0[place.incarnation] = opened }
        }
        var failure: SystemError?
        for (place, shape) in wanted {
            switch results.withLock({ $0[place.incarnation] }) {
            case .lease(let lease):
                guard let lease = lease.take(), book.isOpen(place, shape, lease) else { continue }
                logger.info(
                    "the edge is captured after all", metadata: ["edge": "\(place.name)"])
            case .failure(let error):
                let isNews = book.hasFailed(place, shape, error, now: monotonicNanoseconds())
                guard !error.isInterfaceAbsent else { continue }
                failure = error.systemError
                guard isNews else { continue }
                logger.warning(
                    "an edge cannot be captured, it is tried again every second",
                    metadata: ["edge": "\(place.name)", "reason": "\(error)"])
            case nil: break
            }
        }
        return book.isEmpty ? failure : nil
    }

    private enum Opened: Sendable {
        case lease(TransferBox<RingLease>)
        case failure(Ring.Failure)
    }

    /// Opens a ring and hands it to the forwarder at once.
    private static func open(
        _ place: Edge, _ shape: Ring.Shape, _ plan: ProgramPlan,
        _ give: @Sendable (RingCommand) -> Void
    ) -> Opened {
        var plan = plan
        while true {
            let program = plan.program(at: place.point)
            do throws(Ring.Failure) {
                let ring = try Ring(
                    on: place.point.interfaceIndex, program.program, shape: shape,
                    tellsOffload: plan.keepsWhole)
                let lease = try ring.lease()
                give(.add(place, TransferBox(ring), program))
                return .lease(TransferBox(lease))
            } catch {
                guard error == .programTooLarge, program.decides else { return .failure(error) }
                plan.shrink(below: program)
            }
        }
    }

    /// Lets go of rings and of the last holds on them, and so closes them.
    private func close(_ rings: [ClosingRing]) {
        inParallel(rings.count, threadCountMax: Self.threadCountMax) { rings[$0].close() }
    }
}

extension RingManager {
    private func attend(to note: RingEvent, _ book: inout RingTable) {
        switch note {
        case .pressed(let incarnation): enlarge(incarnation, &book)
        case .prepared(let incarnation): exchange(incarnation, &book)
        case .done, .kept: break
        }
    }

    private func settle(_ note: RingEvent, _ book: inout RingTable) {
        switch note {
        case .done(let incarnation, let wasFollowed, let ring):
            book.isDone(incarnation, wasFollowed: wasFollowed, ring)
        case .kept(let incarnation, let next): book.isKept(incarnation, next)
        case .pressed, .prepared: break
        }
    }

    /// Opens a larger ring beside one that is close to full, or smaller ones beside others so that
    /// there is memory for it.
    private func enlarge(_ incarnation: UInt64, _ book: inout RingTable) {
        let (growing, shrinking) = book.press(incarnation, now: monotonicNanoseconds())
        for change in [growing].compactMap({ $0 }) + shrinking { prepare(change, &book) }
    }

    private func prepare(_ change: RingTable.Change, _ book: inout RingTable) {
        do throws(Ring.Failure) {
            let ring = try change.ring.opensSuccessor(
                change.shape, tellsOffload: tellsOffload)
            let set = PacketSet(countMax: Self.sharedCountMax << change.ring.keptCount)
            give(
                .prepare(
                    incarnation: change.ring.place.incarnation, TransferBox(ring), TransferBox(set))
            )
        } catch {
            book.isAbandoned(change.ring)
            guard !error.isInterfaceAbsent else { return }
            logger.debug(
                "a ring keeps its size",
                metadata: ["edge": "\(change.ring.place.name)", "reason": "\(error)"])
        }
    }

    /// Has the forwarder go over to a ring that gets all packets by now, when none is under way any
    /// more that came before.
    private func exchange(_ incarnation: UInt64, _ book: inout RingTable) {
        guard let ring = book.ring(incarnation) else { return }
        do throws(SystemError) {
            try awaitPacketsUnderWay()
            give(.succeed(incarnation: incarnation))
        } catch {
            give(.abandon(incarnation: incarnation))
            guard !ring.hasWarned else { return }
            ring.hasWarned = true
            logger.warning(
                "a ring keeps its size",
                metadata: ["edge": "\(ring.place.name)", "reason": "\(error)"])
        }
    }
}
