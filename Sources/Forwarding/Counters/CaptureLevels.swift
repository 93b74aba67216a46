package import Metrics
/// Levels of a capture: how much there is of something now. Those who change it say so.
package final class CaptureLevels: Sendable {
    /// Memory of all rings, bytes.
    package let ringBytes = Gauge()
    /// Edges that share one ring, since there is no memory for more.
    package let edgesSharing = Gauge()
    /// What waits in the send queue, bytes.
    package let queueBytes = Gauge()

    package init() {}
}
