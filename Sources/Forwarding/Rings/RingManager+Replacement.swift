import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import Taps
import Time

/// The ring manager's steps.
extension RingManager {
    /// The number of packets that an edge may have while two rings get them.
    ///
    /// That is for about 20 ms, so 1.5 million a second. Each failure in a row doubles it.
    private static let seenCountMax = 1 << 15

    /// Step 1: opens a ring beside the present one, which gets nothing yet.
    func open(_ change: RingTable.Change, _ table: inout RingTable) {
        let slot = change.slot
        let isSameEnd = change.tap.side == slot.tap.side
        do throws(RingOpeningFailure) {
            let stamps = isSameEnd ? try Self.stampPackets() : nil
            let ring = try ring(at: change.tap, of: slot.edge, Program.keepNothing, change.shape)
            let lease = TransferBox(try RingOpeningFailure.lease(of: ring))
            slot.recordNewRing(lease, stamps)
            let seen = PacketSet(countMax: Self.seenCountMax << slot.failureCount)
            send(
                .prepare(TransferBox(ring), TransferBox(seen), change.tap.side),
                to: slot.edge.incarnation)
        } catch {
            table.recordOpeningFailed(slot)
            // What hinders the opener is in the log.
            guard case .ring(let error) = error, !error.isInterfaceAbsent else { return }
            logger.debug(
                "a ring keeps its size",
                metadata: ["edge": "\(slot.edge.name)", "reason": "\(error)"])
        }
    }

    private static func stampPackets() throws(RingOpeningFailure) -> TransferBox<PacketStamps> {
        do throws(SystemError) {
            return TransferBox(try PacketStamps())
        } catch {
            throw .ring(.system(error))
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
