package import Metrics
package import Packets
import Synchronization

/// Counters of one session's packets, or of a capture that several sessions share.
///
/// Every count starts with the session, or the capture, and only grows. A session's object counts what
/// depends on the session; the rest it has from the capture's object since it joined that.
package final class CaptureCounters: Sendable {
    /// All frames, by fate.
    package let frames = FrameCounters()
    private let values: [64 of Atomic<UInt64>] = [64 of Atomic<UInt64>] { _ in Atomic(0) }
    private let unrepaired: [11 of Atomic<UInt64>] = [11 of Atomic<UInt64>] { _ in Atomic(0) }
    /// The frames of each edge that is captured now, by its interface's incarnation.
    let edges = Mutex<[UInt64: EdgeCounters]>([:])
    /// Where the counts of an edge go when the edge is closed.
    private let edgeMetrics: EdgeMetrics
    private let membership = Mutex(Membership.none)

    /// How a session's counters belong to a capture's.
    private enum Membership {
        case none
        /// The session is part of a capture, which had counted `base` when it joined.
        case joined(CaptureCounters, base: CaptureCounts)
        /// The session has left the capture, which had counted `end` then.
        case left(base: CaptureCounts, end: CaptureCounts, isEarly: Bool)
    }

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
        metric.isShared ? counts[metric] : own(metric)
    }

    /// What this object has counted itself.
    func own(_ metric: CaptureMetric) -> UInt64 {
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

    /// The packets of a tunnel that were not sent, and their bytes.
    var lost: (packetCount: UInt64, byteCount: UInt64) {
        let reasons: [CaptureMetric] = [
            .packetsLostWithoutBuffer, .packetsLostUnreachable, .packetsLostAsTooLarge,
            .packetsLostAsEcho, .packetsLostOtherwise,
        ]
        return (reasons.reduce(0) { $0 + own($1) }, own(.bytesLost))
    }

    /// The packets of a tunnel that were not sent.
    package var lostCount: UInt64 { lost.packetCount }

    /// The counts now.
    package var counts: CaptureCounts {
        membership.withLock { membership in
            switch membership {
            case .none: return CaptureCounts(self)
            case .joined(let capture, let base):
                return CaptureCounts(CaptureCounts(self), sharing: capture.counts, since: base)
            case .left(let base, let end, let isEarly):
                var counts = CaptureCounts(CaptureCounts(self), sharing: end, since: base)
                if isEarly { counts.abandonRest() }
                return counts
            }
        }
    }

    /// Begins to count the frames of an edge, or of the shared ring.
    func open(_ edge: EdgeCounters, _ incarnation: UInt64) {
        edges.withLock { $0[incarnation] = edge }
    }

    /// Hands the counts of an edge that ended over to the peer's.
    func close(_ incarnation: UInt64) { edgeMetrics.close(incarnation, in: self) }
}

/// A session's part in a capture.
extension CaptureCounters {
    /// Counts the capture's frames as the session's from now on.
    package func join(_ capture: CaptureCounters) {
        let base = capture.counts
        membership.withLock { $0 = .joined(capture, base: base) }
    }

    /// Counts no more of the capture's frames as the session's.
    ///
    /// - Parameter isEarly: Whether the capture goes on without the session, which abandons the frames
    ///   that are still on their way.
    package func leave(isEarly: Bool) {
        for incarnation in edges.withLock({ Array($0.keys) }) {
            edgeMetrics.close(incarnation, in: self, isEarly: isEarly)
        }
        membership.withLock { membership in
            guard case .joined(let capture, let base) = membership else { return }
            membership = .left(base: base, end: capture.counts, isEarly: isEarly)
        }
    }
}
