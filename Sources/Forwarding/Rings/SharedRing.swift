import BPF
import Edges
import Observation
import PacketRing
import Time

/// One ring for all edges that have no ring of their own because memory is used up.
///
/// It sees all interfaces. The kernel lets in the packets of those edges and decides nothing else, so
/// it costs more for each packet. It belongs to the forwarder's thread.
package final class SharedRing {
    var ring: Ring
    /// Stands for the edges in logs and metrics; no interface has this name.
    static let name = "edges without a ring"
    /// Stands for the edges' incarnations; no interface has this one.
    package static let incarnation = UInt64.max

    /// Counts what becomes of the frames of all these edges.
    let counters: EdgeTally
    /// The edges by the indexes of their interfaces.
    ///
    /// Edges that have left stay while the ring may hold packets of theirs.
    private var points: [UInt32: ObservationPoint] = [:] { didSet { knownContext = nil } }
    /// The context, until the edges change.
    private var knownContext: EdgeContext?
    /// The edges whose packets are let in.
    private var present: [UInt32: ObservationPoint] = [:]
    /// When all packets are out of the ring that came before the last change.
    private(set) var drainedAt = MonotonicTime.zero
    private var hasCut = false

    init(_ ring: consuming Ring, sessionCount: Int) {
        counters = EdgeTally(sessionCount: sessionCount)
        self.ring = ring
    }

    /// Whether nothing is let in.
    var isEmpty: Bool { present.isEmpty }

    /// Records that a block has cut a packet; true the first time.
    func takeFirstCut() -> Bool {
        defer { hasCut = true }
        return !hasCut
    }

    /// What the pipeline must know of the ring.
    var context: EdgeContext {
        if let knownContext { return knownContext }
        let context = EdgeContext(
            source: .edges(points), counters: counters, program: .punts, filter: .here)
        knownContext = context
        return context
    }

    /// Lets in the packets of these edges, and no others.
    func set(_ edges: [Edge], now: MonotonicTime) throws(Ring.Failure) {
        // Nothing is left of the edges that had gone before the last change.
        if now >= drainedAt { points = present }
        drainedAt = now + ring.shape.retirementMax
        present = Dictionary(
            edges.map { ($0.point.interfaceIndex, $0.point) }, uniquingKeysWith: { $1 })
        points.merge(present) { $1 }
        do throws(Ring.Failure) {
            try ring.attach(EdgeProgram.sharedRing(of: Array(present.keys)))
        } catch {
            // Then user space looks for the edge of every packet.
            guard error == .programTooLarge else { throw error }
            try ring.attach(EdgeProgram.undecided.program)
        }
    }
}
