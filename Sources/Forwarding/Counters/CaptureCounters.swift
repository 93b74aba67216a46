package import Metrics
package import Packets
import Synchronization

/// Counters of one capture.
///
/// Every count starts with the capture and only grows.
package final class CaptureCounters: Sendable {
    /// All frames, by fate.
    package let frames = FrameCounters()
    private let values: [48 of Atomic<UInt64>] = [48 of Atomic<UInt64>] { _ in Atomic(0) }
    private let unrepaired: [11 of Atomic<UInt64>] = [11 of Atomic<UInt64>] { _ in Atomic(0) }
    /// The frames of each edge that is captured now, by its interface's incarnation.
    let edges = Mutex<[UInt64: EdgeCounters]>([:])
    /// Where the counts of an edge go when the edge is closed.
    private let edgeMetrics: EdgeMetrics

    /// Memory of all rings, bytes.
    package let ringBytes = Gauge()
    /// Edges that share one ring because there is no memory for more.
    package let edgesSharing = Gauge()
    /// Edges whose rings are inside their pods.
    package let edgesInside = Gauge()
    /// Rings of edges that are silent, whose packets come later.
    package let ringsSlow = Gauge()
    /// Bytes in the send queue.
    package let queueBytes = Gauge()
    /// Frames that wait for the answer to a request, or for the first fragment of their datagram.
    package let framesHeld = Gauge()

    /// Whether Cilium's tables are used, 1 or 0 for each family.
    package let ciliumIPv4 = Gauge()
    package let ciliumIPv6 = Gauge()

    package init(_ edgeMetrics: EdgeMetrics = EdgeMetrics()) {
        self.edgeMetrics = edgeMetrics
        precondition(CaptureMetric.allCases.count <= values.count)
        precondition(unrepaired.count == WireForm.Obstacle.allCases.count)
    }

    package subscript(metric: CaptureMetric) -> UInt64 {
        values[metric.rawValue].load(ordering: .relaxed)
    }

    /// Frames sent as they were captured, because of this obstacle.
    package subscript(obstacle: WireForm.Obstacle) -> UInt64 {
        unrepaired[obstacle.rawValue].load(ordering: .relaxed)
    }

    /// Adds to a count.
    ///
    /// Nobody takes it for a signal, so it needs no memory order.
    @inline(__always)
    package func add(_ count: Int, to metric: CaptureMetric) {
        if count > 0 { values[metric.rawValue].wrappingAdd(UInt64(count), ordering: .relaxed) }
    }

    @inline(__always)
    func add(_ count: Int, to obstacle: WireForm.Obstacle) {
        if count > 0 {
            unrepaired[obstacle.rawValue].wrappingAdd(UInt64(count), ordering: .relaxed)
        }
    }

    /// Sets a count that somebody else keeps.
    func set(_ metric: CaptureMetric, to count: UInt64) {
        values[metric.rawValue].store(count, ordering: .relaxed)
    }

    /// The counts now.
    package var counts: CaptureCounts { CaptureCounts(self) }

    /// Begins to count the frames of an edge, or of the shared ring.
    func open(_ edge: EdgeCounters, _ incarnation: UInt64) {
        edges.withLock { $0[incarnation] = edge }
    }

    /// Hands the counts of an edge that ended over to the peer's.
    func close(_ incarnation: UInt64) { edgeMetrics.close(incarnation, in: self) }
}
