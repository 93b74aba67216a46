import BPF
import PacketRing
import Glibc
import Linux
import Observation

/// The last resort where there are more edges than the memory has rings for: one ring that sees all
/// interfaces serves those that have none of their own. The kernel decides nothing there, and no
/// edge is captured for itself, but every one is captured. It belongs to the forwarder's thread.
final class Crowd {
    var ring: Ring
    /// No interface has this name, or this life.
    static let name = "edges without a ring"
    static let life = UInt64.max

    /// What became of the frames of all these edges.
    let account = FrameAccount()
    /// By the indexes of their interfaces; those that have left stay while the ring may hold something
    /// of them.
    private(set) var points: [UInt32: ObservationPoint] = [:]
    /// Those at which something is let in.
    private var present: [UInt32: ObservationPoint] = [:]
    /// When that was changed last.
    private(set) var changedAt: UInt64 = 0

    /// Whether nothing is let in.
    var isEmpty: Bool { present.isEmpty }

    init(_ ring: consuming Ring) {
        self.ring = ring
    }

    /// Lets in what passes at these edges, and nothing else.
    func set(_ places: [Place]) throws(Ring.Failure) {
        let now = monotonicNanoseconds()
        // Nothing is left of those that had gone before the last change.
        if now >= changedAt + Ring.retirementNanosecondsMax { points = present }
        changedAt = now
        present = Dictionary(
            places.map { ($0.point.interfaceIndex, $0.point) }, uniquingKeysWith: { $1 })
        points.merge(present) { $1 }
        do throws(Ring.Failure) {
            try ring.attach(CrowdProgram.program(for: Array(present.keys)))
        } catch {
            // Then user space looks for the edges of all packets.
            guard error == .programTooLarge else { throw error }
            try ring.attach(EdgeProgram.undecided.program)
        }
    }
}
