import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import Synchronization
import Taps
import Time

/// The ring manager's steps.
extension RingManager {
    /// What is to be opened, as several threads may know it.
    private struct Job: Sendable {
        let edge: Edge
        let tap: EdgeTap
        let shape: Ring.Shape
        let seenCountMax: Int
        let isSameEnd: Bool
    }

    private struct Opened: Sendable {
        let ring: TransferBox<Ring>
        let lease: TransferBox<RingLease>
        let stamps: TransferBox<PacketStamps>?
        let seen: TransferBox<PacketSet>
    }

    /// Step 1: opens rings beside the present ones, which get nothing yet.
    ///
    /// The next step begins for all of them when the last is open, so that none waits for others while
    /// it fills.
    func open(_ changes: [RingTable.Change], _ table: inout RingTable) {
        guard !changes.isEmpty else { return }
        let jobs = changes.map {
            Job(
                edge: $0.slot.edge, tap: $0.tap, shape: $0.shape, seenCountMax: $0.seenCountMax,
                isSameEnd: $0.tap.side == $0.slot.tap.side)
        }
        let results = Mutex<[Int: Result<Opened, RingOpeningFailure>]>([:])
        inParallel(jobs.count, threadCountMax: Self.threadCountMax) { [self] index in
            let result = open(jobs[index])
            results.withLock { $0[index] = result }
        }
        for (index, change) in changes.enumerated() {
            switch results.withLock({ $0[index] }) {
            case .success(let opened):
                change.slot.recordNewRing(opened.lease, opened.stamps)
                send(
                    .prepare(opened.ring, opened.seen, change.tap.side),
                    to: change.slot.edge.incarnation)
            case .failure(let error): recordFailure(error, of: change.slot, &table)
            case nil: table.recordOpeningFailed(change.slot)
            }
        }
    }

    private func open(_ job: Job) -> Result<Opened, RingOpeningFailure> {
        do throws(RingOpeningFailure) {
            let stamps = job.isSameEnd ? try Self.stampPackets() : nil
            let ring = try ring(at: job.tap, of: job.edge, Program.keepNothing, job.shape)
            let lease = TransferBox(try RingOpeningFailure.lease(of: ring))
            let seen = TransferBox(PacketSet(countMax: job.seenCountMax))
            return .success(
                Opened(ring: TransferBox(ring), lease: lease, stamps: stamps, seen: seen))
        } catch {
            return .failure(error)
        }
    }

    private func recordFailure(
        _ error: RingOpeningFailure, of slot: RingSlot, _ table: inout RingTable
    ) {
        table.recordOpeningFailed(slot)
        // What hinders the opener is in the log.
        guard case .ring(let error) = error, !error.isInterfaceAbsent else { return }
        logKept(slot, because: "\(error)")
    }

    private func logKept(_ slot: RingSlot, because reason: Logger.MetadataValue) {
        logger.debug(
            "a ring keeps its size",
            metadata: ["edge": "\(slot.edge.name)", "reason": reason])
    }

    private static func stampPackets() throws(RingOpeningFailure) -> TransferBox<PacketStamps> {
        do throws(SystemError) {
            return TransferBox(try PacketStamps())
        } catch {
            throw .ring(.system(error))
        }
    }

    /// Step 3: waits until every packet that passes is in the new rings, and says so.
    ///
    /// One wait is for all rings that are prepared by then.
    func succeed(_ incarnations: [UInt64], _ table: borrowing RingTable) {
        guard !incarnations.isEmpty else { return }
        do throws(SystemError) {
            try awaitPacketsUnderWay()
            for incarnation in incarnations { send(.succeed, to: incarnation) }
        } catch {
            for incarnation in incarnations {
                send(.cancel, to: incarnation)
                guard let slot = table.slot(incarnation), !slot.hasWarned else { continue }
                slot.hasWarned = true
                logger.warning(
                    "a ring keeps its size",
                    metadata: ["edge": "\(slot.edge.name)", "reason": "\(error)"])
            }
        }
    }

    /// Step 4: ends a replacement as the forwarder says.
    func advance(
        _ event: RingReplacement.Event, of incarnation: UInt64, _ table: inout RingTable
    ) {
        switch event {
        case .prepared: break
        case .replaced(let old):
            table.recordReplaced(incarnation, old, now: .now)
            guard let slot = table.slot(incarnation) else { return }
            logger.debug(
                "a ring has been replaced",
                metadata: ["edge": "\(slot.edge.name)", "ring_bytes": .number(slot.byteCount)])
        case .cancelled(let new, let obstacle):
            if let slot = table.slot(incarnation) { logKept(slot, because: "\(obstacle)") }
            let slot = table.cancelReplacement(incarnation, new, because: obstacle, now: .now)
            if let slot { noteNotMoved(slot) }
        }
    }

    private func send(_ command: RingReplacement.Command, to incarnation: UInt64) {
        send(.replace(incarnation: incarnation, command))
    }
}
