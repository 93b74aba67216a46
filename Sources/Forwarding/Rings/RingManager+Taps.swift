import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import Taps

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
        for change in table.takeOtherEnds(now: .now) { open(change, &table) }
    }

    /// What is missing of edges that are to be captured inside their pods and share a ring.
    func warningOfHalves(_ edges: [Edge]) -> String {
        var loss = ""
        if edges.contains(where: { $0.tap.podTap?.hasHostEnd == true }) {
            loss += "; of those that should be captured inside their pods, half may be missing"
        }
        if edges.contains(where: { $0.tap.podTap?.hasHostEnd == false }) {
            loss += "; those that have no end in the node are not captured"
        }
        return loss
    }
}
