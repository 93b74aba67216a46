import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import Settings
import Taps
import Time

/// Why a ring could not be opened at an end of an edge's pair.
enum RingOpeningFailure: Error, Equatable {
    /// There is no socket inside the pod.
    case socket(PodSocketFailure)
    case ring(Ring.Failure)

    /// The failure as one of a ring.
    var ringFailure: Ring.Failure {
        switch self {
        case .socket: .system(SystemError("socket AF_PACKET inside a pod", .notPermitted))
        case .ring(let failure): failure
        }
    }

    /// Makes a lease on a ring's socket.
    static func lease(of ring: borrowing Ring) throws(RingOpeningFailure) -> RingLease {
        do throws(Ring.Failure) { return try ring.lease() } catch { throw .ring(error) }
    }
}

/// Rings at both ends of edges' pairs.
extension RingManager {
    /// Opens a ring at an end of an edge's pair.
    func ring(
        at tap: EdgeTap, of edge: Edge, _ program: Program, _ shape: Ring.Shape
    ) throws(RingOpeningFailure) -> Ring {
        guard let podTap = tap.podTap else {
            do throws(Ring.Failure) {
                return try Ring(
                    on: edge.point.interfaceIndex, program, shape: shape,
                    tellsOffload: tellsOffload)
            } catch {
                throw .ring(error)
            }
        }
        let socket = try podSocket(podTap, behind: edge)
        do throws(Ring.Failure) {
            return try Ring(
                on: podTap.podIndex, program, shape: shape, tellsOffload: tellsOffload,
                socket: socket)
        } catch {
            throw .ring(error)
        }
    }

    private func podSocket(
        _ tap: PodTap, behind edge: Edge
    ) throws(RingOpeningFailure) -> Descriptor {
        guard let podSockets else {
            throw .ring(.system(SystemError("socket AF_PACKET inside a pod", .notPermitted)))
        }
        do throws(PodSocketFailure) {
            return try podSockets.open(tap, behind: edge)
        } catch {
            throw .socket(error)
        }
    }

    /// Moves the rings of edges to the ends at which they are to be captured now, a few at a time.
    func moveToOtherEnds(_ table: inout RingTable) {
        guard podSockets != nil else { return }
        open(table.takeOtherEnds(now: .now), &table)
        for slot in table.takeLacking() { noteNotMoved(slot) }
    }

    /// Counts a ring that could not take over at the other end, and logs it when that goes on.
    func noteNotMoved(_ slot: RingSlot) {
        counters.add(1, to: .ringsNotMoved)
        guard slot.notMovedCount == RingSlot.notMovedCountToReport else { return }
        let loss =
            slot.wantedTap.side == .pod
            ? "so half of its packets may be missing" : "so it is captured inside its pod"
        logger.warning(
            """
            the ring of an edge has not moved to the other end of its pair, since there is no memory \
            for it or it is full too soon, \(loss); the agent tries again with a larger one, as far \
            as \(Setting.ringMemory.option) allows
            """,
            metadata: [
                "edge": "\(slot.edge.name)", "tries": .number(slot.notMovedCount),
                "ring_bytes": .number(slot.byteCount),
            ])
    }

    /// What is missing of edges that are to be captured inside their pods and share a ring.
    func warningOfHalves(_ edges: [Edge]) -> String {
        var loss = ""
        if edges.contains(where: { $0.tap.side == .pod }) {
            loss += "; of those that should be captured inside their pods, half may be missing"
        }
        return loss
    }

    /// Logs once that interfaces without an end in the node are not captured for lack of memory.
    func warnOfUncaptured(_ table: inout RingTable) {
        guard !table.uncaptured.isEmpty, !table.hasWarnedOfUncaptured else { return }
        table.hasWarnedOfUncaptured = true
        let (cause, remedy) = lackOfMemory(table)
        logger.warning(
            """
            \(cause): interfaces that have no end in the node are not captured; the agent tries \
            again every minute; \(remedy)
            """,
            metadata: [
                "edge": "\(table.uncaptured[0].name)",
                "edge_count": .number(table.uncaptured.count),
                "ring_memory": .number(table.budget.byteCountMax),
            ])
    }

    /// Why there is no memory for a ring, and what to do about it.
    func lackOfMemory(_ table: borrowing RingTable) -> (cause: String, remedy: String) {
        table.budget.isKernelExhausted
            ? ("the kernel has no memory for more rings", "free some on the node")
            : ("the ring memory is used up", "raise \(Setting.ringMemory.option)")
    }
}

extension Edge {
    /// Whether the edge has an end in the node's namespace.
    var hasHostEnd: Bool { tap.podTap?.hasHostEnd ?? true }
}
