import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import Time

extension RingReplacement {
    /// What the ring manager tells the forwarder.
    enum Command: Sendable {
        /// Let the same packets into this ring, and record them in this set.
        case prepare(TransferBox<Ring>, TransferBox<PacketSet>)
        /// The new ring gets all packets from now on: read the old one to its end.
        case succeed
        /// The new ring is of no use.
        case cancel
    }

    /// What the forwarder tells the ring manager.
    enum Event: Sendable {
        /// The new ring lets in what the old one does.
        case prepared
        /// The new ring has taken over; close the old one.
        case replaced(TransferBox<Ring>?)
        /// The old ring stays; close the new one.
        case cancelled(TransferBox<Ring>?)
    }
}

/// The ring manager's steps.
extension RingManager {
    /// The number of packets that an edge may have while two rings get them.
    ///
    /// That is for about 20 ms, so 1.5 million a second. Each failure in a row doubles it.
    private static let seenCountMax = 1 << 15

    /// Step 1: opens a ring beside the present one, which gets nothing yet.
    func open(_ change: RingTable.Change, _ table: inout RingTable) {
        let slot = change.slot
        do throws(Ring.Failure) {
            let stamps = try Self.stampPackets()
            let ring = try Ring(
                on: slot.edge.point.interfaceIndex, Program.keepNothing, shape: change.shape,
                tellsOffload: tellsOffload)
            let lease = TransferBox(try ring.lease())
            slot.recordNewRing(lease, stamps)
            let seen = PacketSet(countMax: Self.seenCountMax << slot.failureCount)
            send(.prepare(TransferBox(ring), TransferBox(seen)), to: slot.edge.incarnation)
        } catch {
            table.recordOpeningFailed(slot)
            guard !error.isInterfaceAbsent else { return }
            logger.debug(
                "a ring keeps its size",
                metadata: ["edge": "\(slot.edge.name)", "reason": "\(error)"])
        }
    }

    private static func stampPackets() throws(Ring.Failure) -> TransferBox<PacketStamps> {
        do throws(SystemError) {
            return TransferBox(try PacketStamps())
        } catch {
            throw .system(error)
        }
    }

    /// Steps 3 and 4: continues or ends a replacement as the forwarder says.
    func advance(
        _ event: RingReplacement.Event, of incarnation: UInt64, _ table: inout RingTable
    ) {
        switch event {
        case .prepared: succeed(incarnation, &table)
        case .replaced(let old): table.recordReplaced(incarnation, old)
        case .cancelled(let new): table.cancelReplacement(incarnation, new)
        }
    }

    /// Step 3: waits until every packet that passes is in the new ring, and says so.
    private func succeed(_ incarnation: UInt64, _ table: inout RingTable) {
        guard let slot = table.slot(incarnation) else { return }
        do throws(SystemError) {
            try awaitPacketsUnderWay()
            send(.succeed, to: incarnation)
        } catch {
            send(.cancel, to: incarnation)
            guard !slot.hasWarned else { return }
            slot.hasWarned = true
            logger.warning(
                "a ring keeps its size",
                metadata: ["edge": "\(slot.edge.name)", "reason": "\(error)"])
        }
    }

    private func send(_ command: RingReplacement.Command, to incarnation: UInt64) {
        send(.replace(incarnation: incarnation, command))
    }
}

/// The forwarder's steps.
extension Forwarder {
    /// Carries out what the ring manager says about a replacement.
    func advance(
        _ command: RingReplacement.Command, of incarnation: UInt64, now: MonotonicTime
    ) throws(SystemError) {
        switch command {
        case .prepare(let ring, let seen):
            guard let ring = ring.take(), let seen = seen.take() else { return }
            prepare(ring, seen, incarnation)
        case .succeed:
            guard let edge = edges[incarnation] else { return }
            try count(edge)
            edge.beginSuccession(now: now)
            closing.insert(incarnation)
        case .cancel: if let edge = edges[incarnation] { cancelReplacement(of: edge) }
        }
    }

    /// Step 2: lets into a new ring what is let into the present one.
    private func prepare(_ ring: consuming Ring, _ seen: consuming PacketSet, _ incarnation: UInt64)
    {
        guard let edge = edges[incarnation] else {
            return report(.cancelled(nil), of: incarnation)
        }
        do {
            try count(edge)
            try edge.prepare(ring, seen)
            report(.prepared, of: incarnation)
        } catch {
            counters.add(1, to: .programsNotReplaced)
            report(.cancelled(nil), of: incarnation)
        }
    }

    /// Step 4: puts the new ring in the old one's place, or cancels if it has not got everything.
    func replaceRing(of edge: CapturedEdge) throws(SystemError) {
        try count(edge)
        let fileDescriptor = edge.fileDescriptor
        guard let (old, lost) = try edge.succeed() else { return cancelReplacement(of: edge) }
        count(lost, edge.counters)
        try poller.remove(fileDescriptor)
        counters.add(1, to: .ringsReplaced)
        try poller.add(edge.fileDescriptor, as: Key.firstEdge + edge.incarnation)
        report(.replaced(old), of: edge.incarnation)
    }

    /// Keeps the old ring.
    func cancelReplacement(of edge: CapturedEdge) {
        let (new, remainder) = edge.cancelReplacement()
        count(remainder, edge.counters)
        report(.cancelled(new), of: edge.incarnation)
    }

    /// Counts the packets of a block that have come out of either ring for the first time.
    func countFirstRead(_ edge: CapturedEdge) {
        let count = edge.takeFirstReadCount()
        guard count > 0 else { return }
        self.count(Ring.Statistics(received: UInt32(count), dropped: 0), edge.counters)
    }

    private func report(_ event: RingReplacement.Event, of incarnation: UInt64) {
        manager.send(.replacement(incarnation: incarnation, event))
    }
}
