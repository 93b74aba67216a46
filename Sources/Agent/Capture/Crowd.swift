import BPF
import Capture
import Glibc
import Kernel
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
    private(set) var points: [UInt32: ObservationPoint] = [:]

    init(_ ring: consuming Ring) {
        self.ring = ring
    }

    /// Lets in what passes at these edges, and nothing else.
    func set(_ places: [Place]) throws(SystemError) {
        points = Dictionary(
            places.map { ($0.point.interfaceIndex, $0.point) }, uniquingKeysWith: { $1 })
        do throws(SystemError) {
            try ring.attach(CrowdProgram.program(for: Array(points.keys)))
        } catch {
            // Then user space looks for the edges of all packets.
            guard error.code == ENOMEM || error.code == EINVAL else { throw error }
            try ring.attach(EdgeProgram.undecided.program)
        }
    }
}
